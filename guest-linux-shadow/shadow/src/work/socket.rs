// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sockets: Internet protocols, with the options that say all there is to say in a value.
//!
//! The client is not trusted with the rest of Linux, which this process may reach: netlink and packet sockets configure the
//! network, local sockets lie outside the client's root, and values of some options are addresses of this process.
#![expect(unsafe_code, reason = "makes system calls")]

use std::os::fd::RawFd;

use forward_ring::syscall::{Arg, SMALL_MAX, VALUE_RESULT_HEADER};

use super::calls::{address, direct};
use super::{Call, Outcome};
use crate::files::Kind;
use crate::number;
use crate::syscall::{self, error};

/// Options of SOL_SOCKET: 2 SO_REUSEADDR to 10 SO_OOBINLINE, 13 SO_LINGER, 15 SO_REUSEPORT, 18 SO_RCVLOWAT to
/// 21 SO_SNDTIMEO, 30 SO_ACCEPTCONN, 38 SO_PROTOCOL, 39 SO_DOMAIN.
const SOCKET_OPTIONS: [i32; 17] = [2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 15, 18, 19, 20, 21, 30, 38];
/// Options of IPPROTO_TCP: TCP_NODELAY to TCP_QUICKACK, TCP_USER_TIMEOUT.
const TCP_OPTIONS: [i32; 13] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 18];
/// Options of IPPROTO_IP: IP_TOS, IP_TTL, and 32 IP_MULTICAST_IF to 36 IP_DROP_MEMBERSHIP.
const IP_OPTIONS: [i32; 7] = [1, 2, 32, 33, 34, 35, 36];
/// Options of IPPROTO_IPV6: IPV6_UNICAST_HOPS to IPV6_LEAVE_GROUP, IPV6_V6ONLY.
const IPV6_OPTIONS: [i32; 7] = [16, 17, 18, 19, 20, 21, 26];

/// The bits of a socket's type that are no flags: Linux's SOCK_TYPE_MASK.
const TYPE_MASK: i32 = 0xf;
/// The largest type that Linux knows: SOCK_PACKET.
const LAST_TYPE: i32 = 10;

/// Makes one of the socket calls.
pub fn make(call: &Call) -> Outcome {
    match call.number {
        number::SOCKET => socket(call),
        number::ACCEPT => accept(call, 0),
        number::ACCEPT4 => accept(call, call.args[3]),
        number::SETSOCKOPT | number::GETSOCKOPT if !is_known_option(call) => {
            Outcome::result(error(libc::ENOPROTOOPT))
        }
        number::LISTEN | number::SHUTDOWN => Outcome::result(direct(call)),
        _ => Outcome::result(copied(call, call.number.into(), None)),
    }
}

fn socket(call: &Call) -> Outcome {
    let [domain, kind, protocol] = [0, 1, 2].map(|i| call.args[i] as i32);
    let (kind, flags) = (kind & TYPE_MASK, kind & !TYPE_MASK);
    // In Linux's order.
    if flags & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) != 0 {
        return Outcome::result(error(libc::EINVAL));
    }
    if ![libc::AF_INET, libc::AF_INET6].contains(&domain) {
        return Outcome::result(error(libc::EAFNOSUPPORT));
    }
    if kind > LAST_TYPE {
        return Outcome::result(error(libc::EINVAL));
    }
    if ![libc::SOCK_STREAM, libc::SOCK_DGRAM].contains(&kind) {
        return Outcome::result(error(libc::ESOCKTNOSUPPORT));
    }
    let kind = kind | flags | libc::SOCK_CLOEXEC;
    let args = [domain as usize, kind as usize, protocol as usize, 0, 0, 0];
    // SAFETY: touches no memory.
    let result = unsafe { syscall::call(libc::SYS_socket, args) };
    Outcome::opened(result, |_| Kind::Other)
}

fn accept(call: &Call, flags: u64) -> Outcome {
    let flags = flags as i32;
    if flags & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) != 0 {
        return Outcome::result(error(libc::EINVAL));
    }
    let result = copied(call, libc::SYS_accept4, Some(flags | libc::SOCK_CLOEXEC));
    Outcome::opened(result, |_| Kind::Other)
}

fn is_known_option(call: &Call) -> bool {
    let (level, name) = (call.args[1] as i32, call.args[2] as i32);
    match level {
        libc::SOL_SOCKET => SOCKET_OPTIONS.contains(&name) || name == libc::SO_DOMAIN,
        libc::IPPROTO_TCP => TCP_OPTIONS.contains(&name),
        libc::IPPROTO_IP => IP_OPTIONS.contains(&name),
        libc::IPPROTO_IPV6 => IPV6_OPTIONS.contains(&name),
        _ => false,
    }
}

/// Structures of a call, where only this process writes.
struct Copies {
    given: [u8; SMALL_MAX],
    value: [u8; SMALL_MAX],
    value_len: libc::socklen_t,
}

/// Makes a call with its structures copied: what the kernel looks at twice, or takes a length from, does not lie
/// where the client writes. `flags` is the fourth argument, if it is not the client's.
fn copied(call: &Call, number: i64, flags: Option<i32>) -> i64 {
    let mut copies = Copies {
        given: [0; SMALL_MAX],
        value: [0; SMALL_MAX],
        value_len: 0,
    };
    let mut args = match arguments(call, &mut copies) {
        Ok(args) => args,
        Err(errno) => return errno,
    };
    if let Some(flags) = flags {
        args[3] = flags as usize;
    }
    // SAFETY: the descriptor is one of the client's files. Addresses with their lengths are of the buffer or of the copies,
    // which live to the end of the call and hold the longest structure that a length can tell.
    let result = unsafe { syscall::call(number, args) };
    if result < 0 {
        return result;
    }
    if let Err(errno) = give_back(call, &copies) {
        if number == libc::SYS_accept4 {
            // SAFETY: it was made a moment ago, and nobody knows it.
            unsafe { syscall::close(result as RawFd) };
        }
        return errno;
    }
    result
}

fn arguments(call: &Call, copies: &mut Copies) -> Result<[usize; 6], i64> {
    let mut args = [0; 6];
    for (index, arg) in call.signature.args.iter().enumerate() {
        match *arg {
            Arg::In(_) | Arg::Out(_) => args[index] = address(call, index)?,
            Arg::Small(n) => {
                let extent = call
                    .signature
                    .extent(index, &call.args, call.area.len())
                    .map_err(|bad| bad.errno())?;
                let Some(extent) = extent else { continue };
                let given = &mut copies.given[..extent.len];
                call.area
                    .read(extent.offset, given)
                    .ok_or(error(libc::EINVAL))?;
                if call.number != number::SETSOCKOPT && is_local(given) {
                    return Err(error(libc::EAFNOSUPPORT));
                }
                args[index] = given.as_ptr().expose_provenance();
                args[usize::from(n)] = extent.len;
            }
            Arg::ValueResult(n) => {
                let extent = call
                    .signature
                    .extent(index, &call.args, call.area.len())
                    .map_err(|bad| bad.errno())?;
                let Some(extent) = extent else { continue };
                copies.value_len = extent.len as libc::socklen_t;
                args[index] = copies.value.as_mut_ptr().expose_provenance();
                let len: *mut libc::socklen_t = &mut copies.value_len;
                args[usize::from(n)] = len.expose_provenance();
            }
            // A length that belongs to a structure is put in with it.
            Arg::Length => {
                let is_of_data =
                    call.signature.args.iter().any(
                        |arg| matches!(arg, Arg::In(n) | Arg::Out(n) if usize::from(*n) == index),
                    );
                if is_of_data {
                    args[index] = call.args[index] as usize;
                }
            }
            _ => args[index] = call.args[index] as usize,
        }
    }
    Ok(args)
}

fn is_local(address: &[u8]) -> bool {
    address
        .first_chunk()
        .is_some_and(|family| i32::from(u16::from_ne_bytes(*family)) == libc::AF_UNIX)
}

/// Copies the structure that the kernel has written, with its length, to the buffer.
fn give_back(call: &Call, copies: &Copies) -> Result<(), i64> {
    for (index, arg) in call.signature.args.iter().enumerate() {
        if !matches!(arg, Arg::ValueResult(_)) {
            continue;
        }
        let extent = call
            .signature
            .extent(index, &call.args, call.area.len())
            .map_err(|bad| bad.errno())?;
        let Some(extent) = extent else { continue };
        let written = extent.len.min(copies.value_len as usize);
        let len = copies.value_len.to_le_bytes();
        call.area
            .write(extent.offset, &len)
            .and_then(|()| {
                let data = extent.offset + VALUE_RESULT_HEADER;
                call.area.write(data, &copies.value[..written])
            })
            .ok_or(error(libc::EINVAL))?;
    }
    Ok(())
}
