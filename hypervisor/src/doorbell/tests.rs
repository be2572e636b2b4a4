use super::*;

fn doorbell(vectors: u64) -> (Doorbell, &'static UpidPage, &'static UpidPage) {
    let proxies: &'static UpidPage = Box::leak(Box::default());
    let targets: &'static UpidPage = Box::leak(Box::default());
    (
        Doorbell::new(2, 1, vectors, proxies, targets),
        proxies,
        targets,
    )
}

fn slot(page: &'static UpidPage, index: usize) -> &'static Upid {
    page.slots().nth(index).unwrap()
}

#[test]
fn a_proxy_names_its_doorbell_and_slot() {
    let (_, proxies, _) = doorbell(u64::MAX);
    for (index, proxy) in proxies.slots().enumerate() {
        let notification = proxy.post(1).unwrap();
        for mode in [ApicMode::X2apic, ApicMode::Xapic] {
            assert_eq!(
                Request::decode(notification.vector, notification.destination, mode),
                Request::Doorbell {
                    number: 2,
                    slot: index
                }
            );
        }
    }
}

#[test]
fn other_descriptors_ask_for_interrupts() {
    let Request::Interrupt(command) = Request::decode(0xec, 0x0003_0201, ApicMode::X2apic) else {
        panic!("a doorbell");
    };
    assert_eq!((command.vector, command.destination), (0xec, 0x0003_0201));
    assert_eq!(
        (command.delivery_mode, command.logical, command.shorthand),
        (0, false, Shorthand::None)
    );
    let Request::Interrupt(command) = Request::decode(0xec, 0x0003_0201, ApicMode::Xapic) else {
        panic!("a doorbell");
    };
    assert_eq!(command.destination, 2);
    // The proxies' destination with another vector is no doorbell.
    assert!(matches!(
        Request::decode(0x40, PROXY_DESTINATION, ApicMode::X2apic),
        Request::Interrupt(_)
    ));
}

#[test]
fn posts_reach_the_receiver_and_notify_as_its_descriptor_says() {
    let (doorbell, proxies, targets) = doorbell(u64::MAX);
    slot(targets, 3).init(0xec, 7);
    for expected in [
        Some(Notification {
            vector: 0xec,
            destination: 7,
        }),
        // The receiver has not looked yet: its ON coalesces.
        None,
    ] {
        assert!(slot(proxies, 3).post(1 << 5 | 1).is_some());
        let relayed = doorbell.relay(3).unwrap();
        assert_eq!((relayed.refused, relayed.notification), (0, expected));
    }
    assert!(!slot(proxies, 3).is_outstanding());
    assert_eq!(slot(targets, 3).take_requests(), 1 << 5 | 1);
    assert_eq!(slot(targets, 2).requests(), 0);
}

#[test]
fn a_suppressed_receiver_gets_the_post_and_no_notification() {
    let (doorbell, proxies, targets) = doorbell(u64::MAX);
    slot(targets, 0).reset();
    slot(proxies, 0).post(1);
    assert_eq!(doorbell.relay(0), Some(Relayed::default()));
    assert_eq!(slot(targets, 0).requests(), 1);
}

#[test]
fn vectors_that_are_not_allowed_are_gone_and_reported() {
    let (doorbell, proxies, targets) = doorbell(1 << 5);
    slot(targets, 0).init(0xec, 7);
    slot(proxies, 0).post(1 << 6);
    let relayed = doorbell.relay(0).unwrap();
    assert_eq!((relayed.refused, relayed.notification), (1 << 6, None));
    assert_eq!(slot(targets, 0).requests(), 0);
    slot(proxies, 0).post(1 << 6 | 1 << 5);
    let relayed = doorbell.relay(0).unwrap();
    assert_eq!(relayed.refused, 1 << 6);
    assert!(relayed.notification.is_some());
    assert_eq!(slot(targets, 0).requests(), 1 << 5);
}

#[test]
fn there_are_no_slots_behind_the_last() {
    let (doorbell, ..) = doorbell(u64::MAX);
    assert!(doorbell.relay(UPID_SLOTS - 1).is_some());
    assert_eq!(doorbell.relay(UPID_SLOTS), None);
    assert_eq!(doorbell.relay(255), None);
}

#[test]
fn a_receiver_is_notified_on_its_own_cpus_only() {
    let to = |vector, destination| Notification {
        vector,
        destination,
    };
    let cpus = [2, 5];
    assert_eq!(target_cpu(to(16, 5), &cpus, ApicMode::X2apic), Ok(1));
    assert_eq!(target_cpu(to(255, 0x200), &cpus, ApicMode::Xapic), Ok(0));
    for destination in [0, 3, 0x205, u32::MAX] {
        assert_eq!(
            target_cpu(to(40, destination), &cpus, ApicMode::X2apic),
            Err(Undeliverable::Destination(destination))
        );
    }
    assert_eq!(
        target_cpu(to(40, 0xff00), &cpus, ApicMode::Xapic),
        Err(Undeliverable::Destination(0xff))
    );
    assert_eq!(
        target_cpu(to(15, 2), &cpus, ApicMode::X2apic),
        Err(Undeliverable::Vector(15))
    );
}
