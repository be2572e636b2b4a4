// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sockets of the Linux cell, which talk to each other there; and poll.

use core::sync::atomic::{AtomicI64, Ordering};

use nimbos_apps::system;

use crate::Test;
use crate::check::{
    BAD_ADDRESSES, Check, Failure, call, from, holds, into, is, path, threads, until, works,
};
use crate::files::{close, create, pipe, read, write};
use crate::linux::*;

/// The tests.
pub const TESTS: &[Test] = &[
    ("tcp", tcp),
    ("socket-options", options),
    ("sockets-refused", refused),
    ("poll", poll),
];

fn socket() -> Result<u64, Failure> {
    works("socket", call(number::SOCKET, [AF_INET, SOCK_STREAM, 0]))
}

/// Returns a socket that listens, and its port.
fn listener() -> Result<(u64, u16), Failure> {
    let fd = socket()?;
    let any = Address::local(0);
    is(
        "bind",
        call(number::BIND, [fd, from(&any), Address::LEN]),
        0,
    )?;
    is("listen", call(number::LISTEN, [fd, 5]), 0)?;
    Ok((fd, name(number::GETSOCKNAME, fd)?.port()))
}

fn name(number: u64, fd: u64) -> Result<Address, Failure> {
    let mut address = Address::default();
    let mut len = Address::LEN as u32;
    let result = call(number, [fd, into(&mut address), into(&mut len)]);
    is("name", result, 0)?;
    is("length of a name", len.into(), Address::LEN as i64)?;
    Ok(address)
}

fn connect(port: u16) -> Result<u64, Failure> {
    let fd = socket()?;
    let to = Address::local(port);
    let result = call(number::CONNECT, [fd, from(&to), Address::LEN]);
    is("connect", result, 0)?;
    Ok(fd)
}

static ACCEPTED: AtomicI64 = AtomicI64::new(0);

extern "C" fn accept(listener: usize) -> ! {
    let mut peer = Address::default();
    let mut len = Address::LEN as u32;
    let result = call(
        number::ACCEPT,
        [listener as u64, into(&mut peer), into(&mut len)],
    );
    let is_named = peer.port() != 0 && u64::from(len) == Address::LEN;
    ACCEPTED.store(if is_named { result } else { -1 }, Ordering::Release);
    system::exit_thread(0)
}

/// A thread waits for the connection that another one makes.
fn tcp() -> Check {
    let (listener, port) = listener()?;
    threads(1, accept, listener as usize)?;
    let client = connect(port)?;
    until("accept", || ACCEPTED.load(Ordering::Acquire) != 0)?;
    let server = works("accept", ACCEPTED.load(Ordering::Acquire))?;
    holds("peer", name(number::GETPEERNAME, client)?.port() == port)?;
    let own = name(number::GETSOCKNAME, client)?;
    holds(
        "the other's peer",
        name(number::GETPEERNAME, server)? == own,
    )?;
    let sent = call(number::SENDTO, [client, path(c"question"), 8, 0, 0, 0]);
    is("sendto", sent, 8)?;
    let mut bytes = [0; 32];
    let got = call(number::RECVFROM, [server, into(&mut bytes), 32, 0, 0, 0]);
    is("recvfrom", got, 8)?;
    holds("the question", bytes.starts_with(b"question\0"))?;
    write(server, b"answer")?;
    read(client, b"answer")?;
    is("shutdown", call(number::SHUTDOWN, [client, SHUT_WR]), 0)?;
    let end = call(number::RECVFROM, [server, into(&mut bytes), 32, 0, 0, 0]);
    is("recvfrom at the end", end, 0)?;
    for address in BAD_ADDRESSES {
        let args = [server, address, 1, 0, 0, 0];
        is("send bad memory", call(number::SENDTO, args), EFAULT)?;
        is(
            "receive to bad memory",
            call(number::RECVFROM, args),
            EFAULT,
        )?;
    }
    // With the fourth argument.
    let other = connect(port)?;
    let accepted = call(number::ACCEPT4, [listener, 0, 0, O_CLOEXEC]);
    let accepted = works("accept4", accepted)?;
    is("its flag", call(number::FCNTL, [accepted, F_GETFD]), 1)?;
    for fd in [listener, client, server, other, accepted] {
        close(fd)?;
    }
    Ok(())
}

fn options() -> Check {
    let fd = socket()?;
    let on = 1_u32;
    let set = |value, len| [fd, SOL_SOCKET, SO_REUSEADDR, value, len];
    is("setsockopt", call(number::SETSOCKOPT, set(from(&on), 4)), 0)?;
    let (mut value, mut len) = (0_u32, 4_u32);
    let get = [
        fd,
        SOL_SOCKET,
        SO_REUSEADDR,
        into(&mut value),
        into(&mut len),
    ];
    is("getsockopt", call(number::GETSOCKOPT, get), 0)?;
    is("its value", value.into(), 1)?;
    is("its length", len.into(), 4)?;
    let get = [fd, SOL_SOCKET, SO_ERROR, into(&mut value), into(&mut len)];
    is("SO_ERROR", call(number::GETSOCKOPT, get), 0)?;
    is("no error", value.into(), 0)?;
    is(
        "too long",
        call(number::SETSOCKOPT, set(from(&on), 5000)),
        EINVAL,
    )?;
    for address in BAD_ADDRESSES {
        is(
            "bad value",
            call(number::SETSOCKOPT, set(address, 4)),
            EFAULT,
        )?;
        let get = [fd, SOL_SOCKET, SO_ERROR, address, into(&mut len)];
        is("to nowhere", call(number::GETSOCKOPT, get), EFAULT)?;
    }
    close(fd)
}

fn refused() -> Check {
    let (listener, port) = listener()?;
    let fd = socket()?;
    let taken = Address::local(port);
    is(
        "port in use",
        call(number::BIND, [fd, from(&taken), Address::LEN]),
        EADDRINUSE,
    )?;
    let mut byte = [0];
    let receive = [fd, into(&mut byte), 1, 0, 0, 0];
    is("not connected", call(number::RECVFROM, receive), ENOTCONN)?;
    is("shutdown", call(number::SHUTDOWN, [fd, SHUT_WR]), ENOTCONN)?;
    close(listener)?;
    let nobody = call(number::CONNECT, [fd, from(&taken), Address::LEN]);
    is("nobody listens", nobody, ECONNREFUSED)?;
    is(
        "short address",
        call(number::CONNECT, [fd, from(&taken), 3]),
        EINVAL,
    )?;
    is(
        "long address",
        call(number::BIND, [fd, from(&taken), 5000]),
        EINVAL,
    )?;
    for address in BAD_ADDRESSES {
        is(
            "bad address",
            call(number::BIND, [fd, address, Address::LEN]),
            EFAULT,
        )?;
        is(
            "bad address",
            call(number::CONNECT, [fd, address, Address::LEN]),
            EFAULT,
        )?;
        is(
            "name to nowhere",
            call(number::GETSOCKNAME, [fd, address, address]),
            EFAULT,
        )?;
    }
    close(fd)?;
    let file = create(c"/tmp/fwd/no-socket")?;
    is("a file", call(number::LISTEN, [file, 1]), ENOTSOCK)?;
    is("a file", call(number::ACCEPT, [file, 0, 0]), ENOTSOCK)?;
    close(file)?;
    is("nowhere", call(number::LISTEN, [99, 1]), EBADF)?;
    for (domain, kind, expected) in [
        (AF_INET, 77, EINVAL),
        (AF_INET, 11, EINVAL),
        (AF_INET, SOCK_SEQPACKET, ESOCKTNOSUPPORT),
        (77, SOCK_STREAM, EAFNOSUPPORT),
    ] {
        let none = call(number::SOCKET, [domain, kind, 0]);
        is("no such socket", none, expected)?;
    }
    Ok(())
}

fn poll() -> Check {
    let [from_pipe, to_pipe] = pipe()?;
    let entry = |fd, events| PollFd {
        fd,
        events,
        revents: 0xffff,
    };
    let mut entries = [
        entry(from_pipe as i32, POLLIN),
        entry(to_pipe as i32, POLLOUT),
        entry(99, POLLIN),
        entry(-1, POLLIN),
    ];
    let count = call(number::POLL, [into(&mut entries), 4, 1000]);
    is("poll", count, 2)?;
    let found = entries.map(|entry| entry.revents);
    holds("revents", found == [0, POLLOUT, POLLNVAL, 0])?;
    let count = call(number::POLL, [into(&mut entries), 1, 20]);
    is("time is up", count, 0)?;
    write(to_pipe, b"x")?;
    let count = call(number::POLL, [into(&mut entries), 1, u64::MAX]);
    is("something to read", count, 1)?;
    is("revents", entries[0].revents.into(), POLLIN.into())?;
    close(to_pipe)?;
    is("poll", call(number::POLL, [into(&mut entries), 1, 0]), 1)?;
    is(
        "no writer",
        entries[0].revents.into(),
        (POLLIN | POLLHUP).into(),
    )?;
    close(from_pipe)?;
    is("only time", call(number::POLL, [0, 0, 20]), 0)?;
    is(
        "too many",
        call(number::POLL, [into(&mut entries), 100_000, 0]),
        EINVAL,
    )?;
    for address in BAD_ADDRESSES {
        is("bad memory", call(number::POLL, [address, 1, 0]), EFAULT)?;
    }
    Ok(())
}
