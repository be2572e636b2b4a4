// SPDX-License-Identifier: MIT OR Apache-2.0
//! Paths of the client. None leads out of its root directory: the kernel resolves them as if that were the root, and
//! follows neither `..` nor links beyond it.
//!
//! A path is copied once, and what was copied is used. Working directories and the directories of `openat` are
//! descriptors: what lies below such a directory is found from it, wherever it was moved. A path that leads up and
//! out of it is followed from the root, by the directory's name at this moment.
#![expect(unsafe_code, reason = "makes system calls")]

use std::ffi::{CStr, CString};
use std::os::fd::RawFd;

use forward_ring::syscall::{Arg, PATH_MAX};

use super::calls::last_error;
use super::{Call, Outcome};
use crate::files::Kind;
use crate::number;
use crate::syscall::{self, error};

/// `openat2` may find that somebody renames directories meanwhile.
const ATTEMPTS: usize = 16;

/// Open flags that Linux knows; as `open` does, others are ignored. O_DIRECT does not go with shared memory and is
/// refused; O_ASYNC would make signals.
const FLAGS: i32 = libc::O_ACCMODE
    | libc::O_CREAT
    | libc::O_EXCL
    | libc::O_NOCTTY
    | libc::O_TRUNC
    | libc::O_APPEND
    | libc::O_NONBLOCK
    | libc::O_SYNC
    | libc::O_DSYNC
    | libc::O_LARGEFILE
    | libc::O_DIRECTORY
    | libc::O_NOFOLLOW
    | libc::O_NOATIME
    | libc::O_TMPFILE;
const PATH_FLAGS: i32 = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW;

/// `struct open_how`.
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// Where paths begin.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Absolute ones.
    pub root: RawFd,
    /// Relative ones; `None` if the client named no directory that there is.
    pub base: Option<RawFd>,
}

/// Hands argument `index`, a path, to `action`.
pub fn with(call: &Call, index: usize, action: impl FnOnce(&CStr) -> i64) -> i64 {
    debug_assert_eq!(call.signature.args.get(index), Some(&Arg::Path));
    let mut copy = [0; PATH_MAX];
    let offset = usize::try_from(call.args[index]).unwrap_or(usize::MAX);
    match call.area.read_string(offset, &mut copy) {
        Some(path) => action(path),
        None => error(libc::ENAMETOOLONG),
    }
}

impl Place {
    /// Opens a path; returns this process's descriptor.
    pub fn open(&self, path: &CStr, flags: i32, mode: u32) -> i64 {
        if flags & libc::O_DIRECT != 0 {
            return error(libc::EINVAL);
        }
        let known = if flags & libc::O_PATH != 0 {
            PATH_FLAGS
        } else {
            FLAGS
        };
        let flags = flags & known | libc::O_CLOEXEC | libc::O_NOCTTY;
        let flags = if flags & libc::O_PATH != 0 {
            flags & !libc::O_NOCTTY
        } else {
            flags
        };
        let creates = flags & libc::O_CREAT != 0 || flags & libc::O_TMPFILE == libc::O_TMPFILE;
        let mode = if creates { mode & 0o7777 } else { 0 };
        if path.to_bytes().first() == Some(&b'/') {
            return open_beneath(self.root, path, flags, mode, libc::RESOLVE_IN_ROOT);
        }
        let Some(base) = self.base else {
            return error(libc::EBADF);
        };
        if base == self.root {
            return open_beneath(self.root, path, flags, mode, libc::RESOLVE_IN_ROOT);
        }
        let result = open_beneath(base, path, flags, mode, libc::RESOLVE_BENEATH);
        if result != error(libc::EXDEV) {
            return result;
        }
        // It leads out of the directory by `..` or by a link that is absolute.
        match self.joined(base, path) {
            Ok(path) => open_beneath(self.root, &path, flags, mode, libc::RESOLVE_IN_ROOT),
            Err(errno) => errno,
        }
    }

    /// Returns `path`, which begins at `base`, as one that begins at the root.
    fn joined(&self, base: RawFd, path: &CStr) -> Result<CString, i64> {
        let mut joined = self.name_of(base)?;
        joined.push(b'/');
        joined.extend_from_slice(path.to_bytes());
        CString::new(joined).map_err(|_| error(libc::EINVAL))
    }

    /// Returns the name of a directory, as seen from the root: `/` or `/a/b`.
    fn name_of(&self, directory: RawFd) -> Result<Vec<u8>, i64> {
        let name = absolute_name(directory);
        let root = absolute_name(self.root);
        let (name, root) = (name?, root?);
        let root = root.strip_suffix(b"/").unwrap_or(&root);
        match name.strip_prefix(root) {
            Some([]) => Ok(b"/".to_vec()),
            Some(rest) if rest.starts_with(b"/") => Ok(rest.to_vec()),
            // It was moved out of the root.
            _ => Err(error(libc::ENOENT)),
        }
    }

    /// Opens the directory that the last component of `path` is looked up in; returns it with that component.
    fn open_parent<'a>(&self, path: &'a CStr) -> Result<(Directory, &'a CStr), i64> {
        let bytes = path.to_bytes();
        if bytes.is_empty() {
            return Err(error(libc::ENOENT));
        }
        let end = bytes
            .iter()
            .rposition(|&byte| byte != b'/')
            .map_or(0, |last| last + 1);
        let start = bytes[..end]
            .iter()
            .rposition(|&byte| byte == b'/')
            .map_or(0, |slash| slash + 1);
        // Slashes behind it stay: the kernel knows what they mean. Of a path of slashes alone one is the name.
        let last = &path[if end == 0 { bytes.len() - 1 } else { start }..];
        let parent = match &bytes[..start] {
            [] if end == 0 => c"/".to_owned(),
            [] => c".".to_owned(),
            parent => CString::new(parent).map_err(|_| error(libc::EINVAL))?,
        };
        let fd = self.open(&parent, libc::O_PATH | libc::O_DIRECTORY, 0);
        match i32::try_from(fd) {
            Ok(fd) if fd >= 0 => Ok((Directory(fd), last)),
            _ => Err(fd),
        }
    }
}

/// A directory that was opened for the time being.
struct Directory(RawFd);

impl Drop for Directory {
    fn drop(&mut self) {
        // SAFETY: it was opened here and nobody else knows it.
        unsafe { syscall::close(self.0) };
    }
}

fn open_beneath(directory: RawFd, path: &CStr, flags: i32, mode: u32, resolve: u64) -> i64 {
    let how = OpenHow {
        flags: u64::from(flags as u32),
        mode: mode.into(),
        resolve,
    };
    let how: *const OpenHow = &how;
    let args = [
        directory as usize,
        path.as_ptr().expose_provenance(),
        how.expose_provenance(),
        size_of::<OpenHow>(),
        0,
        0,
    ];
    let is_up = path.to_bytes().windows(2).any(|pair| pair == b"..");
    let mut result = 0;
    for _ in 0..ATTEMPTS {
        // SAFETY: the kernel only reads the string and the structure, which both live to the end of the call.
        result = unsafe { syscall::call(libc::SYS_openat2, args) };
        if result != error(libc::EAGAIN) || !is_up {
            break;
        }
    }
    result
}

/// Returns a directory's name in the whole system, by way of this thread's own working directory.
fn absolute_name(directory: RawFd) -> Result<Vec<u8>, i64> {
    let mut name = vec![0u8; PATH_MAX];
    // SAFETY: changes this thread's working directory, which nothing depends on; there is room for the name.
    let len = unsafe {
        match syscall::call(libc::SYS_fchdir, [directory as usize, 0, 0, 0, 0, 0]) {
            0 => {
                let address = name.as_mut_ptr().expose_provenance();
                syscall::call(libc::SYS_getcwd, [address, name.len(), 0, 0, 0, 0])
            }
            errno => errno,
        }
    };
    if len < 0 {
        return Err(len);
    }
    // With its NUL.
    name.truncate((len as usize).saturating_sub(1));
    match name.first() {
        Some(b'/') => Ok(name),
        _ => Err(error(libc::ENOENT)),
    }
}

/// `mkdir`, `rmdir`, `unlink`, `rename`: changes an entry of a directory.
pub fn change(call: &Call, place: Place) -> i64 {
    with(call, 0, |path| {
        let (parent, last) = match place.open_parent(path) {
            Ok(found) => found,
            Err(errno) => return errno,
        };
        let name = last.as_ptr();
        // SAFETY: the kernel only reads the name. It is one component, which none of these calls follows.
        let result = unsafe {
            match call.number {
                number::MKDIR => {
                    libc::mkdirat(parent.0, name, (call.args[1] & 0o7777) as libc::mode_t)
                }
                number::RMDIR => libc::unlinkat(parent.0, name, libc::AT_REMOVEDIR),
                number::UNLINK => libc::unlinkat(parent.0, name, 0),
                _ => return rename(call, place, &parent, last),
            }
        };
        if result == 0 { 0 } else { last_error() }
    })
}

fn rename(call: &Call, place: Place, from: &Directory, old: &CStr) -> i64 {
    with(call, 1, |path| {
        let (to, new) = match place.open_parent(path) {
            Ok(found) => found,
            Err(errno) => return errno,
        };
        // SAFETY: the kernel only reads the two names, which are one component each and not followed.
        match unsafe { libc::renameat(from.0, old.as_ptr(), to.0, new.as_ptr()) } {
            0 => 0,
            _ => last_error(),
        }
    })
}

/// `chdir`: opens the directory, which becomes the process's.
pub fn change_directory(call: &Call, place: Place) -> Outcome {
    let result = with(call, 0, |path| {
        let fd = place.open(path, libc::O_PATH | libc::O_DIRECTORY, 0);
        if fd < 0 {
            return fd;
        }
        // Whether this process may search it, the kernel says by doing it: this thread's working directory is its own.
        // SAFETY: touches no memory.
        match unsafe { syscall::call(libc::SYS_fchdir, [fd as usize, 0, 0, 0, 0, 0]) } {
            0 => fd,
            errno => {
                drop(Directory(fd as RawFd));
                errno
            }
        }
    });
    leave(place);
    Outcome::opened(result, |_| Kind::Other)
}

/// `getcwd`: puts the working directory's name, as seen from the root, into the buffer.
pub fn working_directory(call: &Call, place: Place) -> i64 {
    let name = place.base.ok_or(error(libc::ENOENT));
    let name = name.and_then(|base| place.name_of(base));
    leave(place);
    let mut name = match name {
        Ok(name) => name,
        Err(errno) => return errno,
    };
    name.push(0);
    let extent = call.signature.extent(0, &call.args, call.area.len());
    match extent {
        Ok(Some(extent)) if extent.len >= name.len() => {
            match call.area.write(extent.offset, &name) {
                Some(()) => name.len() as i64,
                None => error(libc::EINVAL),
            }
        }
        Ok(Some(_)) => error(libc::ERANGE),
        Ok(None) => error(libc::EFAULT),
        Err(bad) => bad.errno(),
    }
}

/// Keeps no directory busy.
fn leave(place: Place) {
    // SAFETY: touches no memory.
    unsafe { syscall::call(libc::SYS_fchdir, [place.root as usize, 0, 0, 0, 0, 0]) };
}
