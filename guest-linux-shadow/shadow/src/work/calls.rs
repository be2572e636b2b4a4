// SPDX-License-Identifier: MIT OR Apache-2.0
//! Making Linux's calls: what the client sent, with addresses of the call's buffer put in.
#![expect(unsafe_code, reason = "makes system calls")]

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};

use forward_ring::syscall::{Arg, POLLFD_LEN};

use super::{Call, Outcome, path, socket};
use crate::files::Kind;
use crate::number;
use crate::syscall::{self, error};

/// Tells whether a call on a file in memory is done at once, without ever waiting for anybody.
pub fn is_quick(number: u32) -> bool {
    matches!(
        number,
        number::READ
            | number::WRITE
            | number::PREAD64
            | number::PWRITE64
            | number::LSEEK
            | number::FSTAT
            | number::GETDENTS64
    )
}

/// Makes a call whose arguments are numbers, descriptors, data and structures, as it is.
pub fn direct(call: &Call) -> i64 {
    let mut args = [0; 6];
    for (index, arg) in call.signature.args.iter().enumerate() {
        args[index] = match arg {
            Arg::Value | Arg::Fd | Arg::ReceiveFlags | Arg::Length => call.args[index] as usize,
            Arg::In(_) | Arg::Out(_) | Arg::Struct(_) => match address(call, index) {
                Ok(address) => address,
                Err(errno) => return errno,
            },
            Arg::DirFd | Arg::Path | Arg::Small(_) | Arg::ValueResult(_) | Arg::PollFds(_) => {
                return error(libc::ENOSYS);
            }
        };
    }
    // SAFETY: the descriptor is one of the client's files. Memory is named by address and length, which lie in the
    // buffer: the kernel writes there only, where nobody holds a reference to.
    unsafe { syscall::call(call.number.into(), args) }
}

/// Returns the address of an argument's bytes, 0 if it has none.
pub fn address(call: &Call, index: usize) -> Result<usize, i64> {
    let extent = call.signature.extent(index, &call.args, call.area.len());
    match extent.map_err(|error| error.errno())? {
        None => Ok(0),
        Some(extent) => call
            .area
            .address(extent.offset, extent.len)
            .ok_or(error(libc::EINVAL)),
    }
}

/// Makes a call that may block. Paths are resolved as if `root` were the root directory.
pub fn blocking(call: &mut Call, root: &OwnedFd) -> Outcome {
    let place = path::Place {
        root: root.as_raw_fd(),
        base: call.base,
    };
    match call.number {
        number::OPEN => open(call, place, 0, call.args[1], call.args[2]),
        number::OPENAT => open(call, place, 1, call.args[2], call.args[3]),
        number::STAT => Outcome::result(stat(call, place, 0)),
        number::LSTAT => Outcome::result(stat(call, place, libc::O_NOFOLLOW)),
        number::MKDIR | number::RMDIR | number::UNLINK | number::RENAME => {
            Outcome::result(path::change(call, place))
        }
        number::CHDIR => path::change_directory(call, place),
        number::GETCWD => Outcome::result(path::working_directory(call, place)),
        number::POLL => Outcome::result(poll(call)),
        number::PIPE => pipe(call, 0),
        number::PIPE2 => pipe(call, call.args[1]),
        number::SOCKET..=number::GETSOCKOPT | number::ACCEPT4 => socket::make(call),
        _ => Outcome::result(direct(call)),
    }
}

fn open(call: &Call, place: path::Place, path: usize, flags: u64, mode: u64) -> Outcome {
    let result = path::with(call, path, |path| {
        place.open(path, flags as i32, mode as u32)
    });
    Outcome::opened(result, kind)
}

/// Tells what kind of file was opened.
fn kind(fd: i32) -> Kind {
    // `/dev/null` and `/dev/zero`. (Documentation/admin-guide/devices.txt)
    const SINKS: [u64; 2] = [libc::makedev(1, 3), libc::makedev(1, 5)];
    let Ok(stat) = file_status(fd) else {
        return Kind::Other;
    };
    let is_in_memory = || {
        let mut system = MaybeUninit::<libc::statfs>::zeroed();
        // SAFETY: the kernel fills the structure if it succeeds; zeroes are one too.
        let system = unsafe {
            libc::fstatfs(fd, system.as_mut_ptr());
            system.assume_init()
        };
        [libc::TMPFS_MAGIC, RAMFS_MAGIC].contains(&system.f_type)
    };
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG | libc::S_IFDIR if is_in_memory() => Kind::Memory,
        libc::S_IFCHR if SINKS.contains(&stat.st_rdev) => Kind::Memory,
        _ => Kind::Other,
    }
}

/// Of ramfs, where an initramfs is kept. (include/uapi/linux/magic.h)
const RAMFS_MAGIC: i64 = 0x8584_58f6;

fn file_status(fd: i32) -> Result<libc::stat, i64> {
    let mut stat = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the kernel fills the structure if it succeeds.
    match unsafe { libc::fstat(fd, stat.as_mut_ptr()) } {
        // SAFETY: as just said.
        0 => Ok(unsafe { stat.assume_init() }),
        _ => Err(last_error()),
    }
}

/// Returns the C library's last error, negative.
pub fn last_error() -> i64 {
    error(
        std::io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO),
    )
}

fn stat(call: &Call, place: path::Place, flags: i32) -> i64 {
    let into = match address(call, 1) {
        Ok(into) => into,
        Err(errno) => return errno,
    };
    let file = path::with(call, 0, |path| place.open(path, libc::O_PATH | flags, 0));
    if file < 0 {
        return file;
    }
    // SAFETY: the structure's length lies in the buffer, and the file was opened here.
    unsafe {
        let result = syscall::call(libc::SYS_fstat, [file as usize, into, 0, 0, 0, 0]);
        syscall::close(file as i32);
        result
    }
}

/// The kernel works on this process's own array; the client's gets the events only.
fn poll(call: &mut Call) -> i64 {
    let offset = call.args[0] as usize;
    let timeout = call.args[2] as i32;
    let Some(poll) = &mut call.poll else {
        return error(libc::EINVAL);
    };
    // What cannot be waited for is an event.
    let timeout = if poll.invalid != 0 { 0 } else { timeout };
    let count = poll.files.len();
    // SAFETY: the array has that many elements.
    let result = unsafe {
        let args = [
            poll.files.as_mut_ptr().expose_provenance(),
            count,
            timeout as usize,
        ];
        syscall::call(libc::SYS_poll, [args[0], args[1], args[2], 0, 0, 0])
    };
    if result < 0 {
        return result;
    }
    for (i, file) in poll.files.iter_mut().enumerate() {
        if poll.invalid & 1 << i != 0 {
            file.revents = libc::POLLNVAL;
        }
        let events = offset + i * POLLFD_LEN + 6;
        if call
            .area
            .write(events, &file.revents.to_ne_bytes())
            .is_none()
        {
            return error(libc::EINVAL);
        }
    }
    result + i64::from(poll.invalid.count_ones())
}

/// The numbers come to the buffer when the files have got some.
fn pipe(call: &Call, flags: u64) -> Outcome {
    let flags = flags as i32;
    if flags & !(libc::O_CLOEXEC | libc::O_NONBLOCK) != 0 {
        return Outcome::result(error(libc::EINVAL));
    }
    if let Err(errno) = address(call, 0) {
        return Outcome::result(errno);
    }
    let mut ends = [0; 2];
    // SAFETY: there is room for the two descriptors.
    match unsafe { libc::pipe2(ends.as_mut_ptr(), flags | libc::O_CLOEXEC) } {
        0 => Outcome {
            result: 0,
            opened: ends.map(|fd| Some((fd, Kind::Other))),
        },
        _ => Outcome::result(last_error()),
    }
}
