// SPDX-License-Identifier: MIT OR Apache-2.0
//! What forwarded calls have of Linux: numbers, flags and structures of x86-64. (Manual pages, section 2)

/// Numbers of forwarded calls, beside those of [`nimbos::abi::number`].
pub mod number {
    /// `stat(path, *stat)`.
    pub const STAT: u64 = 4;
    /// `fstat(fd, *stat)`.
    pub const FSTAT: u64 = 5;
    /// `lseek(fd, offset, whence)`.
    pub const LSEEK: u64 = 8;
    /// `pread64(fd, buffer, length, offset)`.
    pub const PREAD: u64 = 17;
    /// `pwrite64(fd, buffer, length, offset)`.
    pub const PWRITE: u64 = 18;
    /// `socket(domain, type, protocol)`.
    pub const SOCKET: u64 = 41;
    /// `connect(fd, *address, length)`.
    pub const CONNECT: u64 = 42;
    /// `accept(fd, *address, *length)`.
    pub const ACCEPT: u64 = 43;
    /// `shutdown(fd, how)`.
    pub const SHUTDOWN: u64 = 48;
    /// `bind(fd, *address, length)`.
    pub const BIND: u64 = 49;
    /// `listen(fd, backlog)`.
    pub const LISTEN: u64 = 50;
    /// `getsockname(fd, *address, *length)`.
    pub const GETSOCKNAME: u64 = 51;
    /// `setsockopt(fd, level, option, *value, length)`.
    pub const SETSOCKOPT: u64 = 54;
    /// `fsync(fd)`.
    pub const FSYNC: u64 = 74;
    /// `ftruncate(fd, length)`.
    pub const FTRUNCATE: u64 = 77;
    /// `getcwd(buffer, length)`.
    pub const GETCWD: u64 = 79;
    /// `chdir(path)`.
    pub const CHDIR: u64 = 80;
    /// `rename(old, new)`.
    pub const RENAME: u64 = 82;
    /// `mkdir(path, mode)`.
    pub const MKDIR: u64 = 83;
    /// `rmdir(path)`.
    pub const RMDIR: u64 = 84;
    /// `unlink(path)`.
    pub const UNLINK: u64 = 87;
    /// `getdents64(fd, buffer, length)`.
    pub const GETDENTS64: u64 = 217;
    /// `pipe2(*fds, flags)`.
    pub const PIPE2: u64 = 293;
}

/// Size of `struct stat`.
pub const STAT_LEN: usize = 144;
/// Bits of a mode that tell the kind of file.
pub const FILE_TYPE: u32 = 0o170_000;
/// The kind: a directory.
pub const DIRECTORY_TYPE: u32 = 0o040_000;

/// Internet protocol, version 4.
pub const AF_INET: u64 = 2;
/// Connections, bytes in order.
pub const SOCK_STREAM: u64 = 1;
/// Options of sockets in general.
pub const SOL_SOCKET: u64 = 1;
/// A listener's port may be used again at once.
pub const SO_REUSEADDR: u64 = 2;
/// Size of `struct sockaddr_in`.
pub const SOCKADDR_IN_LEN: usize = 16;

/// Takes `N` bytes at `offset`, which the structure has.
pub(crate) fn field<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[offset..offset + N]);
    field
}
