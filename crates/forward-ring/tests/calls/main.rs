// SPDX-License-Identifier: MIT OR Apache-2.0
//! Linux's calls by the table: each goes there and back with everything that belongs to it.

mod arguments;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/program.rs"]
mod program;

use common::*;
use forward_ring::syscall::{self, Arg, Prepared, Signature, VALUE_RESULT_HEADER};
use forward_ring::{Buffer, Geometry, errno, opcode};
use program::*;

/// Length of data, structures and pollfd arrays in these tests, where the caller says it.
const LEN: usize = 24;
const POLLFDS: usize = LEN / syscall::POLLFD_LEN;
/// What the program's memory is full of, and what the server writes.
const FILL: u8 = 0x11;
const WRITTEN: u8 = 0x77;

/// Runs `test` with a buffer of a channel of `channel_size` bytes.
fn with_buffer(channel_size: u64, test: impl FnOnce(&Buffer<'_>)) {
    let memory = SharedMemory::new(Geometry::for_channel(channel_size).unwrap());
    let mut client = memory.client();
    let token = client.reserve().unwrap();
    test(&client.buffer(&token));
    client.release(token);
    memory.assert_guards_are_intact();
}

fn named(name: &str) -> (u32, &'static Signature) {
    syscall::numbers()
        .map(|number| (number, syscall::signature(number).unwrap()))
        .find(|(_, signature)| signature.name == name)
        .unwrap()
}

/// Makes good arguments: each address is that of a page of its own, from 1 up, and lengths are [`LEN`].
fn good_arguments(signature: &Signature, program: &mut Program) -> [u64; 6] {
    let mut args = [0; 6];
    for (index, arg) in signature.args.iter().enumerate() {
        let page = Program::page(index + 1);
        match *arg {
            Arg::Value | Arg::Fd | Arg::DirFd | Arg::ReceiveFlags => {
                args[index] = 0x100 + index as u64
            }
            Arg::Path => {
                args[index] = page;
                program.put(page, path(index).as_bytes());
            }
            Arg::In(n) | Arg::Out(n) | Arg::Small(n) => {
                (args[index], args[usize::from(n)]) = (page, LEN as u64);
                program.put(page, &[index as u8; LEN]);
            }
            Arg::PollFds(n) => {
                (args[index], args[usize::from(n)]) = (page, POLLFDS as u64);
                program.put(page, &[index as u8; LEN]);
            }
            Arg::ValueResult(n) => {
                let len_page = Program::page(usize::from(n) + 1);
                (args[index], args[usize::from(n)]) = (page, len_page);
                program.put(len_page, &(LEN as u32).to_le_bytes());
            }
            Arg::Struct(_) => args[index] = page,
            Arg::Length => {}
        }
    }
    args
}

fn path(index: usize) -> String {
    format!("/some/path/{index}\0")
}

/// Does as a server: checks that everything the call reads is there, and fills what it writes. Returns the result.
fn serve(signature: &Signature, call: &Prepared, buffer: &Buffer<'_>) -> i64 {
    let args = call.args();
    signature.check(&args, buffer.len()).unwrap();
    let mut result = 0;
    for (index, arg) in signature.args.iter().enumerate() {
        let extent = signature.extent(index, &args, buffer.len()).unwrap();
        let Some(extent) = extent else {
            if matches!(arg, Arg::Value | Arg::Fd | Arg::DirFd | Arg::ReceiveFlags) {
                assert_eq!(args[index], 0x100 + index as u64);
            }
            continue;
        };
        assert_eq!(extent.offset % 8, 0);
        let mut bytes = vec![0; extent.len];
        buffer.read(extent.offset, &mut bytes).unwrap();
        let fill = |offset, len| buffer.write(offset, &vec![WRITTEN; len]).unwrap();
        match arg {
            Arg::Path => assert!(bytes.starts_with(path(index).as_bytes())),
            Arg::In(_) | Arg::Small(_) => {
                assert_eq!(bytes, [index as u8; LEN]);
                result = if matches!(arg, Arg::In(_)) {
                    LEN as i64
                } else {
                    result
                };
            }
            Arg::Out(_) => {
                assert_eq!(bytes.len(), LEN);
                fill(extent.offset, LEN);
                result = LEN as i64 - 1;
            }
            Arg::PollFds(_) => {
                assert_eq!(bytes, [index as u8; LEN]);
                fill(extent.offset, LEN);
                result = POLLFDS as i64;
            }
            Arg::Struct(len) => {
                assert_eq!(bytes.len(), usize::from(*len));
                fill(extent.offset, bytes.len());
            }
            Arg::ValueResult(_) => {
                assert_eq!(bytes.len(), LEN);
                buffer
                    .write(extent.offset, &(LEN as u32 - 4).to_le_bytes())
                    .unwrap();
                fill(extent.offset + VALUE_RESULT_HEADER, LEN);
            }
            Arg::Value | Arg::Fd | Arg::DirFd | Arg::ReceiveFlags | Arg::Length => {
                unreachable!("{arg:?} means no bytes")
            }
        }
    }
    result
}

/// Writes into `program` what the call was to write there.
fn expect_written(signature: &Signature, given: &[u64; 6], result: i64, program: &mut Program) {
    for (index, arg) in signature.args.iter().enumerate() {
        let address = given[index];
        match *arg {
            Arg::Out(_) => program.put(address, &vec![WRITTEN; result as usize]),
            Arg::Struct(len) => program.put(address, &vec![WRITTEN; len.into()]),
            Arg::PollFds(_) => {
                for revents in (6..LEN).step_by(syscall::POLLFD_LEN) {
                    program.put(address + revents as u64, &[WRITTEN; 2]);
                }
            }
            Arg::ValueResult(n) => {
                program.put(address, &[WRITTEN; LEN - 4]);
                program.put(given[usize::from(n)], &(LEN as u32 - 4).to_le_bytes());
            }
            _ => {}
        }
    }
}

#[test]
fn every_call_goes_there_and_back_with_all_that_belongs_to_it() {
    for size in [Geometry::MIN_CHANNEL_SIZE, 4 << 20] {
        for number in syscall::numbers() {
            let signature = syscall::signature(number).unwrap();
            with_buffer(size, |buffer| {
                let mut program = Program::filled(FILL);
                let given = good_arguments(signature, &mut program);
                let mut expected = program.clone();
                let call = syscall::prepare(signature, given, &program, buffer).unwrap();
                assert_eq!(
                    program, expected,
                    "{} wrote before the call",
                    signature.name
                );
                let result = serve(signature, &call, buffer);
                let returned = syscall::finish(&call, result, &mut program, buffer);
                assert_eq!(returned, result, "{}", signature.name);
                expect_written(signature, &given, result, &mut expected);
                assert!(
                    program == expected,
                    "{} wrote something else",
                    signature.name
                );
            });
        }
    }
}

#[test]
fn an_error_is_handed_on_and_nothing_is_written() {
    for number in syscall::numbers() {
        let signature = syscall::signature(number).unwrap();
        with_buffer(4 << 20, |buffer| {
            let mut program = Program::filled(FILL);
            let given = good_arguments(signature, &mut program);
            let before = program.clone();
            let call = syscall::prepare(signature, given, &program, buffer).unwrap();
            serve(signature, &call, buffer);
            for error in [-1, -2, -14, -4095] {
                assert_eq!(syscall::finish(&call, error, &mut program, buffer), error);
            }
            for nonsense in [-4096, i64::MIN, i64::MIN + 1] {
                let returned = syscall::finish(&call, nonsense, &mut program, buffer);
                assert_eq!(returned, errno::EIO);
            }
            if signature.most < i64::MAX {
                let returned = syscall::finish(&call, signature.most + 1, &mut program, buffer);
                assert_eq!(returned, errno::EIO);
            }
            assert!(program == before, "{}", signature.name);
        });
    }
}

#[test]
fn numbers_and_sizes_are_linuxs() {
    let numbers: Vec<(&str, i64)> = syscall::numbers()
        .map(|number| (syscall::signature(number).unwrap().name, number.into()))
        .collect();
    macro_rules! linux {
        ($($name:ident $sys:ident)*) => { [$((stringify!($name), libc::$sys)),*] };
    }
    let linux = linux! {
        read SYS_read write SYS_write open SYS_open close SYS_close stat SYS_stat fstat SYS_fstat lstat SYS_lstat
        poll SYS_poll lseek SYS_lseek pread64 SYS_pread64 pwrite64 SYS_pwrite64 pipe SYS_pipe dup SYS_dup dup2 SYS_dup2
        socket SYS_socket connect SYS_connect accept SYS_accept sendto SYS_sendto recvfrom SYS_recvfrom
        shutdown SYS_shutdown bind SYS_bind listen SYS_listen getsockname SYS_getsockname
        getpeername SYS_getpeername setsockopt SYS_setsockopt getsockopt SYS_getsockopt fcntl SYS_fcntl fsync SYS_fsync
        ftruncate SYS_ftruncate getcwd SYS_getcwd chdir SYS_chdir rename SYS_rename mkdir SYS_mkdir rmdir SYS_rmdir
        unlink SYS_unlink getdents64 SYS_getdents64 openat SYS_openat accept4 SYS_accept4 dup3 SYS_dup3
        pipe2 SYS_pipe2
    };
    assert_eq!(numbers, linux);
    assert_eq!(
        named("stat").1.args[1],
        Arg::Struct(size_of::<libc::stat>() as u16)
    );
    assert_eq!(syscall::POLLFD_LEN, size_of::<libc::pollfd>());
    assert_eq!(syscall::PATH_MAX, libc::PATH_MAX as usize);
    assert_eq!(syscall::MSG_TRUNC, libc::MSG_TRUNC as u64);
    assert!(size_of::<libc::sockaddr_storage>() <= syscall::SMALL_MAX);
    let own = [
        errno::EIO,
        errno::EINVAL,
        errno::ENAMETOOLONG,
        errno::ENOSYS,
    ];
    let linux = [libc::EIO, libc::EINVAL, libc::ENAMETOOLONG, libc::ENOSYS];
    assert_eq!(own, linux.map(|errno| -i64::from(errno)));
}

#[test]
fn the_clients_own_calls_have_numbers_that_are_not_forwarded() {
    let own = [
        opcode::FORK,
        opcode::EXEC,
        opcode::EXIT,
        opcode::UINTR_INIT,
        opcode::NULL,
        opcode::COUNTERS,
        opcode::RING_OPEN,
        opcode::RING_CLOSE,
        opcode::END,
    ];
    for number in own.into_iter().chain([294, 500, 1 << 16, u32::MAX]) {
        assert_eq!(syscall::signature(number), None, "{number}");
    }
}
