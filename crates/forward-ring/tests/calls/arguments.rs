// SPDX-License-Identifier: MIT OR Apache-2.0
//! Arguments at the limits and beyond, of programs and of bad clients.

use forward_ring::syscall::{self, Arg, NULL, VALUE_RESULT_HEADER};
use forward_ring::{CallError, Geometry, errno};

use crate::program::*;
use crate::{FILL, LEN, WRITTEN, good_arguments, named, serve, with_buffer};

#[test]
fn bad_addresses_are_refused_before_anything_is_sent() {
    let read_only = Program::page(0);
    let last_bytes = Program::page(PAGES) - 2;
    for number in syscall::numbers() {
        let signature = syscall::signature(number).unwrap();
        for (index, arg) in signature.args.iter().enumerate() {
            let bad: &[u64] = match arg {
                Arg::Path | Arg::In(_) => &[0, 1, u64::MAX, 1 << 63],
                Arg::Small(_) => &[1, u64::MAX, 1 << 63, last_bytes],
                Arg::Out(_) | Arg::Struct(_) | Arg::PollFds(_) => {
                    &[0, u64::MAX, read_only, last_bytes]
                }
                Arg::ValueResult(_) => &[1, u64::MAX, read_only, last_bytes],
                _ => &[],
            };
            for &address in bad {
                with_buffer(4 << 20, |buffer| {
                    let mut program = Program::filled(FILL);
                    let mut given = good_arguments(signature, &mut program);
                    given[index] = address;
                    let refused = syscall::prepare(signature, given, &program, buffer);
                    assert_eq!(
                        refused,
                        Err(EFAULT),
                        "{} {index} {address:#x}",
                        signature.name
                    );
                });
            }
        }
    }
}

#[test]
fn an_address_of_a_length_is_checked_too() {
    let (_, signature) = named("accept");
    with_buffer(4 << 20, |buffer| {
        let mut program = Program::filled(FILL);
        let mut given = good_arguments(signature, &mut program);
        program.put(Program::page(0), &4_u32.to_le_bytes());
        for (address, error) in [(0, EFAULT), (Program::page(0), EFAULT), (1 << 50, EFAULT)] {
            given[2] = address;
            assert_eq!(
                syscall::prepare(signature, given, &program, buffer),
                Err(error)
            );
        }
        given[2] = Program::page(3);
        program.put(given[2], &(1_u32 << 31).to_le_bytes());
        let negative = syscall::prepare(signature, given, &program, buffer);
        assert_eq!(negative, Err(errno::EINVAL));
    });
}

#[test]
fn addresses_that_may_be_null_are_sent_as_such() {
    for (name, index, length) in [
        ("accept", 1, 2),
        ("accept4", 1, 2),
        ("getsockopt", 3, 4),
        ("recvfrom", 4, 5),
        ("sendto", 4, 5),
        ("connect", 1, 2),
        ("setsockopt", 3, 4),
    ] {
        let (_, signature) = named(name);
        with_buffer(Geometry::MIN_CHANNEL_SIZE, |buffer| {
            let mut program = Program::filled(FILL);
            let mut given = good_arguments(signature, &mut program);
            // What stands behind it is Linux's to judge.
            (given[index], given[length]) = (0, 16);
            let call = syscall::prepare(signature, given, &program, buffer).unwrap();
            let args = call.args();
            assert_eq!(args[index], NULL, "{name}");
            assert_eq!(signature.check(&args, buffer.len()), Ok(()), "{name}");
            assert_eq!(
                signature.extent(index, &args, buffer.len()),
                Ok(None),
                "{name}"
            );
            let before = program.clone();
            assert_eq!(syscall::finish(&call, 0, &mut program, buffer), 0, "{name}");
            assert!(program == before, "{name}");
        });
    }
}

#[test]
fn poll_without_descriptors_is_a_sleep() {
    let (_, signature) = named("poll");
    with_buffer(Geometry::MIN_CHANNEL_SIZE, |buffer| {
        let mut program = Program::filled(FILL);
        // The upper half of a C int's register does not count.
        for count in [0, 1 << 32] {
            let call =
                syscall::prepare(signature, [0, count, 10, 0, 0, 0], &program, buffer).unwrap();
            assert_eq!(call.args(), [NULL, 0, 10, 0, 0, 0]);
            assert_eq!(signature.extent(0, &call.args(), buffer.len()), Ok(None));
            assert_eq!(syscall::finish(&call, 0, &mut program, buffer), 0);
            assert_eq!(syscall::finish(&call, 1, &mut program, buffer), errno::EIO);
        }
        let many = [Program::page(1), 65, 0, 0, 0, 0];
        let refused = syscall::prepare(signature, many, &program, buffer);
        assert_eq!(refused, Err(errno::EINVAL));
    });
}

#[test]
fn lengths_of_0_need_no_address() {
    for name in [
        "read",
        "write",
        "pread64",
        "pwrite64",
        "getdents64",
        "sendto",
        "recvfrom",
    ] {
        let (_, signature) = named(name);
        for address in [0, 1, u64::MAX] {
            with_buffer(Geometry::MIN_CHANNEL_SIZE, |buffer| {
                let mut program = Program::filled(FILL);
                let call = syscall::prepare(signature, [3, address, 0, 0, 0, 0], &program, buffer)
                    .unwrap();
                assert_eq!(signature.check(&call.args(), buffer.len()), Ok(()));
                assert_eq!(syscall::finish(&call, 0, &mut program, buffer), 0);
                assert_eq!(syscall::finish(&call, 1, &mut program, buffer), errno::EIO);
            });
        }
    }
}

#[test]
fn more_than_the_buffer_holds_is_done_in_part() {
    for name in ["read", "write"] {
        let (_, signature) = named(name);
        with_buffer(Geometry::MIN_CHANNEL_SIZE, |buffer| {
            let program = Program::filled(FILL);
            for len in [4097, 5000, 1 << 40, i64::MAX as u64] {
                let given = [3, Program::page(1), len, 0, 0, 0];
                let call = syscall::prepare(signature, given, &program, buffer).unwrap();
                assert_eq!(call.args()[..3], [3, 0, 4096]);
            }
            for len in [1 << 63, u64::MAX] {
                let given = [3, Program::page(1), len, 0, 0, 0];
                let refused = syscall::prepare(signature, given, &program, buffer);
                assert_eq!(refused, Err(errno::EINVAL));
            }
        });
    }
}

#[test]
fn paths_that_do_not_fit_are_too_long() {
    let (_, open) = named("open");
    let (_, rename) = named("rename");
    let (_, stat) = named("stat");
    let mut program = Program::filled(b'a');
    // A path of exactly PATH_MAX, one that is longer, a short one.
    program.put(Program::page(2) - 1, &[0]);
    program.put(Program::page(4), &[0]);
    program.put(Program::page(5), b"b\0");
    let (longest, longer, short) = (Program::page(1), Program::page(2) + 4095, Program::page(5));
    let too_long = Program::page(2) + 5;
    assert!(longer < Program::page(3));
    with_buffer(4 << 20, |buffer| {
        let prepare = |signature, args| syscall::prepare(signature, args, &program, buffer);
        let sent = prepare(rename, [longest, longest, 0, 0, 0, 0])
            .unwrap()
            .args();
        assert_eq!(sent, [0, 4096, 0, 0, 0, 0]);
        let refused = prepare(open, [too_long, 0, 0, 0, 0, 0]);
        assert_eq!(refused, Err(ENAMETOOLONG));
    });
    with_buffer(Geometry::MIN_CHANNEL_SIZE, |buffer| {
        let prepare = |signature, args| syscall::prepare(signature, args, &program, buffer);
        assert!(prepare(open, [longest, 0, 0, 0, 0, 0]).is_ok());
        // A page holds both paths only if they are not that long.
        for args in [[longest, short, 0, 0, 0, 0], [short, longest, 0, 0, 0, 0]] {
            assert_eq!(prepare(rename, args), Err(ENAMETOOLONG));
        }
        assert_eq!(
            prepare(rename, [short, short, 0, 0, 0, 0]).unwrap().args()[..2],
            [0, 8]
        );
        let into = Program::page(6);
        assert_eq!(
            prepare(stat, [longest, into, 0, 0, 0, 0]),
            Err(ENAMETOOLONG)
        );
        assert_eq!(
            prepare(stat, [short, into, 0, 0, 0, 0]).unwrap().args()[..2],
            [0, 8]
        );
    });
}

#[test]
fn a_cut_off_datagrams_length_is_not_asked_for() {
    let (_, signature) = named("recvfrom");
    with_buffer(Geometry::MIN_CHANNEL_SIZE, |buffer| {
        let program = Program::filled(FILL);
        for flags in [syscall::MSG_TRUNC, u64::MAX] {
            let given = [3, Program::page(1), 8, flags, 0, 0];
            let refused = syscall::prepare(signature, given, &program, buffer);
            assert_eq!(refused, Err(errno::EINVAL));
            let error = signature
                .check(&[3, 0, 8, flags, NULL, 0], buffer.len())
                .unwrap_err();
            assert_eq!(error.errno(), errno::EINVAL);
        }
    });
}

#[test]
fn a_value_results_length_is_the_servers_and_its_bytes_are_the_callers() {
    let (_, signature) = named("getsockname");
    for (said, written) in [(0, 0), (4, 4), (LEN, LEN), (LEN + 1, LEN), (256, LEN)] {
        with_buffer(Geometry::MIN_CHANNEL_SIZE, |buffer| {
            let mut program = Program::filled(FILL);
            let given = good_arguments(signature, &mut program);
            let call = syscall::prepare(signature, given, &program, buffer).unwrap();
            let mut expected = program.clone();
            serve(signature, &call, buffer);
            let offset = call.args()[1] as usize;
            buffer.write(offset, &(said as u32).to_le_bytes()).unwrap();
            assert_eq!(syscall::finish(&call, 0, &mut program, buffer), 0);
            expected.put(given[1], &vec![WRITTEN; written]);
            expected.put(given[2], &(said as u32).to_le_bytes());
            assert!(program == expected, "{said} said");
            for nonsense in [257, u32::MAX] {
                buffer.write(offset, &nonsense.to_le_bytes()).unwrap();
                let returned = syscall::finish(&call, 0, &mut program, buffer);
                assert_eq!(returned, errno::EIO);
            }
            assert!(program == expected);
        });
    }
}

#[test]
fn memory_that_is_gone_when_the_result_comes_is_an_error() {
    let (_, signature) = named("fstat");
    with_buffer(Geometry::MIN_CHANNEL_SIZE, |buffer| {
        let mut program = Program::filled(FILL);
        let given = good_arguments(signature, &mut program);
        let call = syscall::prepare(signature, given, &program, buffer).unwrap();
        serve(signature, &call, buffer);
        program.bytes.truncate(CONSTANT_PAGES * PAGE);
        assert_eq!(syscall::finish(&call, 0, &mut program, buffer), EFAULT);
    });
}

#[test]
fn what_an_argument_means_ends_with_the_buffer() {
    for number in syscall::numbers() {
        let signature = syscall::signature(number).unwrap();
        with_buffer(Geometry::MIN_CHANNEL_SIZE, |buffer| {
            let mut program = Program::filled(FILL);
            let given = good_arguments(signature, &mut program);
            let good = syscall::prepare(signature, given, &program, buffer)
                .unwrap()
                .args();
            for (index, arg) in signature.args.iter().enumerate() {
                let Some(extent) = signature.extent(index, &good, buffer.len()).unwrap() else {
                    continue;
                };
                let header = if matches!(arg, Arg::ValueResult(_)) {
                    VALUE_RESULT_HEADER
                } else {
                    0
                };
                // A path has as many bytes as there are.
                let len = if *arg == Arg::Path {
                    0
                } else {
                    header + extent.len
                };
                let check = |offset: usize| {
                    let mut args = good;
                    args[index] = offset as u64;
                    signature.check(&args, buffer.len())
                };
                let last = buffer.len() - len;
                assert_eq!(check(last), Ok(()), "{} {index}", signature.name);
                for offset in [last + 1, buffer.len() + 1, usize::MAX - len, usize::MAX - 1] {
                    let error = check(offset).unwrap_err();
                    let invalid = CallError::InvalidArgument {
                        index: index as u8,
                        value: offset as u64,
                    };
                    assert_eq!(error, invalid, "{}", signature.name);
                }
            }
        });
    }
}

#[test]
fn lengths_that_a_client_may_not_send_are_refused() {
    for (name, index, most) in [
        ("read", 2, 4096),
        ("write", 2, 4096),
        ("getcwd", 1, 4096),
        ("connect", 2, 256),
        ("sendto", 5, 256),
        ("setsockopt", 4, 256),
        ("accept", 2, 256),
        ("recvfrom", 5, 256),
        ("poll", 1, 64),
    ] {
        let (_, signature) = named(name);
        let check = |len: u64| {
            let mut args = [0; 6];
            args[index] = len;
            signature.check(&args, 4096)
        };
        assert_eq!(check(most), Ok(()), "{name}");
        for len in [most + 1, 1 << 32, 1 << 63, u64::MAX] {
            let invalid = CallError::InvalidArgument {
                index: index as u8,
                value: len,
            };
            assert_eq!(check(len), Err(invalid), "{name}");
        }
    }
}
