// SPDX-License-Identifier: MIT OR Apache-2.0
//! Numbers of Linux's calls, as requests carry them.

macro_rules! numbers {
    ($($name:ident = $linux:ident),* $(,)?) => {
        $(pub const $name: u32 = libc::$linux as u32;)*
    };
}

numbers! {
    READ = SYS_read, WRITE = SYS_write, OPEN = SYS_open, CLOSE = SYS_close, STAT = SYS_stat, FSTAT = SYS_fstat,
    LSTAT = SYS_lstat, POLL = SYS_poll, LSEEK = SYS_lseek, PREAD64 = SYS_pread64, PWRITE64 = SYS_pwrite64,
    PIPE = SYS_pipe, DUP = SYS_dup, DUP2 = SYS_dup2, SOCKET = SYS_socket, ACCEPT = SYS_accept,
    SHUTDOWN = SYS_shutdown, LISTEN = SYS_listen, SETSOCKOPT = SYS_setsockopt,
    GETSOCKOPT = SYS_getsockopt, FCNTL = SYS_fcntl, GETCWD = SYS_getcwd, CHDIR = SYS_chdir, RENAME = SYS_rename,
    MKDIR = SYS_mkdir, RMDIR = SYS_rmdir, UNLINK = SYS_unlink, GETDENTS64 = SYS_getdents64, OPENAT = SYS_openat,
    ACCEPT4 = SYS_accept4, DUP3 = SYS_dup3, PIPE2 = SYS_pipe2,
}
