// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sockets: the Internet's over the loopback device, and nothing else.

use super::bench::{Bench, Memory, error};

const LOOPBACK: [u8; 4] = [127, 0, 0, 1];

/// `struct sockaddr_in`.
fn address(port: u16) -> [u8; 16] {
    let mut address = [0; 16];
    address[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    address[2..4].copy_from_slice(&port.to_be_bytes());
    address[4..8].copy_from_slice(&LOOPBACK);
    address
}

fn socket(bench: &mut Bench, domain: i32, kind: i32) -> i64 {
    bench.call(1, libc::SYS_socket, &[domain as u64, kind as u64, 0])
}

/// Makes a call with an address: bind or connect.
fn with_address(bench: &mut Bench, number: i64, fd: i64, address: &[u8]) -> i64 {
    let mut memory = Memory::default();
    let args = [fd as u64, memory.put(address), address.len() as u64];
    bench.call_with(1, number as u32, &args, &mut memory)
}

/// Returns the port of a socket's own address.
fn port(bench: &mut Bench, fd: i64) -> u16 {
    let mut memory = Memory::default();
    let into = memory.put(&[0; 16]);
    let len = memory.put(&16u32.to_ne_bytes());
    let args = [fd as u64, into, len];
    let number = libc::SYS_getsockname as u32;
    assert_eq!(bench.call_with(1, number, &args, &mut memory), 0);
    assert_eq!(memory.int(len), 16);
    assert_eq!(memory.bytes(into + 4, 4), LOOPBACK);
    let port = memory.bytes(into + 2, 2);
    u16::from_be_bytes([port[0], port[1]])
}

/// Makes a socket that listens; returns it and its port.
fn listener(bench: &mut Bench) -> (i64, u16) {
    let fd = socket(bench, libc::AF_INET, libc::SOCK_STREAM);
    assert!(fd > 2, "{fd}");
    let bind = libc::SYS_bind;
    assert_eq!(with_address(bench, bind, fd, &address(0)), 0);
    assert_eq!(bench.call(1, libc::SYS_listen, &[fd as u64, 5]), 0);
    let port = port(bench, fd);
    (fd, port)
}

#[test]
fn a_connection_carries_data_both_ways() {
    let mut bench = Bench::new();
    let (listener, port) = listener(&mut bench);
    let mut memory = Memory::default();
    let peer = memory.put(&[0xff; 16]);
    let peer_len = memory.put(&16u32.to_ne_bytes());
    let args = [listener as u64, peer, peer_len];
    let accept = bench
        .begin(0, 1, libc::SYS_accept as u32, &args, &memory)
        .unwrap();
    for _ in 0..20 {
        assert_eq!(bench.open(2, "/none", libc::O_RDONLY), error(libc::ENOENT));
    }
    assert!(!bench.is_completed(accept.0), "nobody has connected");
    let client = socket(&mut bench, libc::AF_INET, libc::SOCK_STREAM);
    assert_eq!(client, listener + 2, "accept has its number already");
    let connect = libc::SYS_connect;
    assert_eq!(with_address(&mut bench, connect, client, &address(port)), 0);
    let server = bench.end(accept, &mut memory);
    assert_eq!(server, listener + 1);
    assert_eq!(memory.int(peer_len), 16);
    assert_eq!(memory.bytes(peer + 4, 4), LOOPBACK);

    let data = memory.put(b"hello");
    let send = libc::SYS_sendto as u32;
    let args = [client as u64, data, 5, 0, 0, 0];
    assert_eq!(bench.call_with(1, send, &args, &mut memory), 5);
    assert_eq!(bench.read(1, server, 99).unwrap(), b"hello");
    assert_eq!(bench.write(1, server, b"world!"), 6);
    let into = memory.put(&[0; 32]);
    let receive = libc::SYS_recvfrom as u32;
    let args = [client as u64, into, 32, libc::MSG_PEEK as u64, 0, 0];
    assert_eq!(bench.call_with(1, receive, &args, &mut memory), 6);
    assert_eq!(memory.bytes(into, 6), b"world!");
    let args = [client as u64, into, 32, libc::MSG_TRUNC as u64, 0, 0];
    assert_eq!(
        bench.call_with(1, receive, &args, &mut memory),
        error(libc::EINVAL)
    );
    assert_eq!(bench.read(1, client, 99).unwrap(), b"world!");

    let shutdown = libc::SYS_shutdown;
    assert_eq!(
        bench.call(1, shutdown, &[client as u64, libc::SHUT_WR as u64]),
        0
    );
    assert_eq!(bench.read(1, server, 9).unwrap(), b"");
    assert_eq!(bench.close(1, server), 0);
    assert_eq!(bench.write(1, client, b"x"), error(libc::EPIPE));
}

#[test]
fn datagrams_tell_where_they_come_from() {
    let mut bench = Bench::new();
    let sockets = [0; 2].map(|_| socket(&mut bench, libc::AF_INET, libc::SOCK_DGRAM));
    let ports = sockets.map(|fd| {
        assert_eq!(with_address(&mut bench, libc::SYS_bind, fd, &address(0)), 0);
        port(&mut bench, fd)
    });
    let mut memory = Memory::default();
    let data = memory.put(b"0123456789");
    let to = memory.put(&address(ports[1]));
    let args = [sockets[0] as u64, data, 10, 0, to, 16];
    let send = libc::SYS_sendto as u32;
    assert_eq!(bench.call_with(1, send, &args, &mut memory), 10);
    let into = memory.put(&[0; 4]);
    let from = memory.put(&[0; 8]);
    let from_len = memory.put(&8u32.to_ne_bytes());
    let args = [sockets[1] as u64, into, 4, 0, from, from_len];
    let receive = libc::SYS_recvfrom as u32;
    assert_eq!(bench.call_with(1, receive, &args, &mut memory), 4);
    assert_eq!(memory.bytes(into, 4), b"0123");
    assert_eq!(memory.bytes(from + 2, 2), ports[0].to_be_bytes());
    assert_eq!(memory.int(from_len), 16, "more than there was room for");
}

fn option(bench: &mut Bench, number: i64, fd: i64, level: i32, name: i32) -> (i64, i32) {
    let mut memory = Memory::default();
    let value = memory.put(&1i32.to_ne_bytes());
    let len = memory.put(&4u32.to_ne_bytes());
    let last = if number == libc::SYS_setsockopt {
        4
    } else {
        len
    };
    let args = [fd as u64, level as u64, name as u64, value, last];
    let result = bench.call_with(1, number as u32, &args, &mut memory);
    (result, memory.int(value))
}

#[test]
fn options_are_values_and_nothing_else() {
    let mut bench = Bench::new();
    let fd = socket(&mut bench, libc::AF_INET, libc::SOCK_STREAM);
    let (set, get) = (libc::SYS_setsockopt, libc::SYS_getsockopt);
    for (level, name) in [
        (libc::SOL_SOCKET, libc::SO_REUSEADDR),
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
        (libc::IPPROTO_TCP, libc::TCP_NODELAY),
    ] {
        assert_eq!(option(&mut bench, set, fd, level, name).0, 0);
        assert_eq!(option(&mut bench, get, fd, level, name), (0, 1));
    }
    let (result, kind) = option(&mut bench, get, fd, libc::SOL_SOCKET, libc::SO_TYPE);
    assert_eq!((result, kind), (0, libc::SOCK_STREAM));
    for (level, name) in [
        (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER),
        (libc::SOL_SOCKET, libc::SO_ATTACH_BPF),
        (libc::SOL_SOCKET, libc::SO_BINDTODEVICE),
        (libc::IPPROTO_TCP, libc::TCP_ZEROCOPY_RECEIVE),
        (libc::IPPROTO_IP, 64),
        (libc::SOL_PACKET, 1),
        (-1, -1),
    ] {
        for number in [set, get] {
            let result = option(&mut bench, number, fd, level, name).0;
            assert_eq!(result, error(libc::ENOPROTOOPT), "{level} {name}");
        }
    }
}

#[test]
fn what_is_not_the_internets_is_refused() {
    let mut bench = Bench::new();
    for domain in [
        libc::AF_UNIX,
        libc::AF_NETLINK,
        libc::AF_PACKET,
        libc::AF_ALG,
        -1,
    ] {
        let result = socket(&mut bench, domain, libc::SOCK_STREAM);
        assert_eq!(result, error(libc::EAFNOSUPPORT), "{domain}");
    }
    for (kind, expected) in [
        (libc::SOCK_RAW, libc::ESOCKTNOSUPPORT),
        (libc::SOCK_SEQPACKET, libc::ESOCKTNOSUPPORT),
        (0, libc::ESOCKTNOSUPPORT),
        // No type of Linux's, and flags that it does not know.
        (11, libc::EINVAL),
        (77, libc::EINVAL),
        (-1, libc::EINVAL),
    ] {
        let result = socket(&mut bench, libc::AF_INET, kind);
        assert_eq!(result, error(expected), "{kind}");
    }
    let fd = socket(
        &mut bench,
        libc::AF_INET,
        libc::SOCK_STREAM | libc::SOCK_CLOEXEC,
    );
    let flags = bench.call(1, libc::SYS_fcntl, &[fd as u64, libc::F_GETFD as u64]);
    assert_eq!(flags, 1);
    let mut local = [0; 110];
    local[..2].copy_from_slice(&(libc::AF_UNIX as u16).to_ne_bytes());
    for number in [libc::SYS_bind, libc::SYS_connect] {
        let result = with_address(&mut bench, number, fd, &local);
        assert_eq!(result, error(libc::EAFNOSUPPORT));
    }
    let file = bench.open(1, "/f", libc::O_CREAT);
    let bind = with_address(&mut bench, libc::SYS_bind, file, &address(0));
    assert_eq!(bind, error(libc::ENOTSOCK));
    assert_eq!(
        bench.call(1, libc::SYS_listen, &[99, 1]),
        error(libc::EBADF)
    );
    assert_eq!(
        bench.call(1, libc::SYS_shutdown, &[fd as u64, 0]),
        error(libc::ENOTCONN)
    );
    let refused = with_address(&mut bench, libc::SYS_connect, fd, &address(1));
    assert_eq!(refused, error(libc::ECONNREFUSED));
    let accept = [fd as u64, 0, 0, libc::SOCK_RAW as u64];
    assert_eq!(
        bench.call(1, libc::SYS_accept4, &accept),
        error(libc::EINVAL)
    );
    assert_eq!(bench.counter(3), 2);
}
