// SPDX-License-Identifier: MIT OR Apache-2.0
//! Linux's numbers: calls, flags and errors. (x86-64; the manual pages' sections 2 and 3)

macro_rules! numbers {
    ($($name:ident: $type:ty = $value:expr;)*) => {
        $(#[doc = concat!("Linux's ", stringify!($name), ".")] pub const $name: $type = $value;)*
    };
}

/// Numbers of calls.
pub mod number {
    numbers! {
        READ: u64 = 0; WRITE: u64 = 1; OPEN: u64 = 2; CLOSE: u64 = 3; STAT: u64 = 4; FSTAT: u64 = 5; LSTAT: u64 = 6;
        POLL: u64 = 7; LSEEK: u64 = 8; IOCTL: u64 = 16; PREAD: u64 = 17; PWRITE: u64 = 18; READV: u64 = 19; WRITEV: u64 = 20;
        PIPE: u64 = 22; DUP: u64 = 32; DUP2: u64 = 33; SOCKET: u64 = 41; CONNECT: u64 = 42; ACCEPT: u64 = 43;
        SENDTO: u64 = 44; RECVFROM: u64 = 45; SHUTDOWN: u64 = 48; BIND: u64 = 49; LISTEN: u64 = 50;
        GETSOCKNAME: u64 = 51; GETPEERNAME: u64 = 52; SETSOCKOPT: u64 = 54; GETSOCKOPT: u64 = 55; FCNTL: u64 = 72;
        FSYNC: u64 = 74; REBOOT: u64 = 169; FTRUNCATE: u64 = 77; GETCWD: u64 = 79; CHDIR: u64 = 80; RENAME: u64 = 82; MKDIR: u64 = 83;
        RMDIR: u64 = 84; UNLINK: u64 = 87; GETDENTS64: u64 = 217; OPENAT: u64 = 257; ACCEPT4: u64 = 288;
        DUP3: u64 = 292; PIPE2: u64 = 293;
    }
}

numbers! {
    ENOENT: i64 = -2; EIO: i64 = -5; ENOEXEC: i64 = -8; EBADF: i64 = -9; EACCES: i64 = -13; EFAULT: i64 = -14; EEXIST: i64 = -17;
    ENOTDIR: i64 = -20; EISDIR: i64 = -21; EINVAL: i64 = -22; ESPIPE: i64 = -29; EPIPE: i64 = -32; ERANGE: i64 = -34;
    ENAMETOOLONG: i64 = -36; ENOSYS: i64 = -38; ENOTEMPTY: i64 = -39; ENOTSOCK: i64 = -88; ESOCKTNOSUPPORT: i64 = -94;
    EAFNOSUPPORT: i64 = -97; EADDRINUSE: i64 = -98;
    ENOTCONN: i64 = -107; ECONNREFUSED: i64 = -111;

    O_RDONLY: u64 = 0; O_WRONLY: u64 = 1; O_RDWR: u64 = 2; O_CREAT: u64 = 0o100; O_EXCL: u64 = 0o200;
    O_TRUNC: u64 = 0o1000; O_APPEND: u64 = 0o2000; O_NONBLOCK: u64 = 0o4000; O_DIRECTORY: u64 = 0o200_000;
    O_CLOEXEC: u64 = 0o2_000_000; AT_FDCWD: u64 = -100_i64 as u64;
    SEEK_SET: u64 = 0; SEEK_CUR: u64 = 1; SEEK_END: u64 = 2;
    F_DUPFD: u64 = 0; F_GETFD: u64 = 1; F_SETFD: u64 = 2; F_GETFL: u64 = 3; F_SETFL: u64 = 4; FD_CLOEXEC: u64 = 1;
    POLLIN: u16 = 1; POLLOUT: u16 = 4; POLLHUP: u16 = 16; POLLNVAL: u16 = 32;
    AF_INET: u64 = 2; SOCK_STREAM: u64 = 1; SOCK_SEQPACKET: u64 = 5; SOL_SOCKET: u64 = 1; SO_REUSEADDR: u64 = 2; SO_ERROR: u64 = 4; SHUT_WR: u64 = 1;
}

/// Size of `struct stat`.
pub const STAT_LEN: usize = 144;
/// Where `st_mode` and `st_size` are in it.
pub const STAT_MODE: usize = 24;
/// See [`STAT_MODE`].
pub const STAT_SIZE: usize = 48;
/// Bits of a mode that say what the file is.
pub const S_IFMT: u32 = 0o170_000;
/// A directory.
pub const S_IFDIR: u32 = 0o040_000;
/// A file.
pub const S_IFREG: u32 = 0o100_000;

/// `struct iovec`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct IoVec {
    /// Address.
    pub base: u64,
    /// Length.
    pub len: u64,
}

/// `struct pollfd`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct PollFd {
    /// The descriptor.
    pub fd: i32,
    /// What is asked.
    pub events: u16,
    /// What is so.
    pub revents: u16,
}

/// `struct sockaddr_in`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Address {
    family: u16,
    port: [u8; 2],
    host: [u8; 4],
    zero: [u8; 8],
}

impl Address {
    /// Size of the structure.
    pub const LEN: u64 = size_of::<Self>() as u64;

    /// Returns a port of this machine.
    pub fn local(port: u16) -> Self {
        Self {
            family: AF_INET as u16,
            port: port.to_be_bytes(),
            host: [127, 0, 0, 1],
            zero: [0; 8],
        }
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        u16::from_be_bytes(self.port)
    }
}
