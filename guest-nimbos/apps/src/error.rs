// SPDX-License-Identifier: MIT OR Apache-2.0
//! Error numbers, which are Linux's, and what they are called.

use core::fmt;

/// An error number of Linux, negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error(pub i64);

impl Error {
    /// Not permitted.
    pub const NOT_PERMITTED: Self = Self(-1);
    /// No such file.
    pub const NO_ENTRY: Self = Self(-2);
    /// No such process.
    pub const NO_PROCESS: Self = Self(-3);
    /// A signal came first.
    pub const INTERRUPTED: Self = Self(-4);
    /// The other side of the channel is gone.
    pub const IO: Self = Self(-5);
    /// Too many, or too long arguments; a program that is too large.
    pub const TOO_BIG: Self = Self(-7);
    /// Not a program.
    pub const NOT_EXECUTABLE: Self = Self(-8);
    /// No such open file.
    pub const BAD_FILE: Self = Self(-9);
    /// No such child.
    pub const NO_CHILD: Self = Self(-10);
    /// A table is full, or a call would have to wait.
    pub const AGAIN: Self = Self(-11);
    /// Not enough memory.
    pub const NO_MEMORY: Self = Self(-12);
    /// The file's permissions do not allow it.
    pub const ACCESS: Self = Self(-13);
    /// An address that is not the program's.
    pub const FAULT: Self = Self(-14);
    /// There is one already, or all places are taken.
    pub const BUSY: Self = Self(-16);
    /// There is such a file already.
    pub const EXISTS: Self = Self(-17);
    /// Not a directory.
    pub const NOT_DIRECTORY: Self = Self(-20);
    /// A directory.
    pub const IS_DIRECTORY: Self = Self(-21);
    /// Invalid argument.
    pub const INVALID: Self = Self(-22);
    /// Too many open files.
    pub const TOO_MANY_FILES: Self = Self(-24);
    /// A pipe or a socket that cannot seek.
    pub const NO_SEEK: Self = Self(-29);
    /// Nobody reads the pipe or the connection.
    pub const BROKEN_PIPE: Self = Self(-32);
    /// No room for the result, or a number beyond the range.
    pub const RANGE: Self = Self(-34);
    /// A path that is too long.
    pub const NAME_TOO_LONG: Self = Self(-36);
    /// No such system call.
    pub const NO_SYSTEM_CALL: Self = Self(-38);
    /// A directory that is not empty.
    pub const NOT_EMPTY: Self = Self(-39);
    /// Not a socket.
    pub const NOT_SOCKET: Self = Self(-88);
    /// The address belongs to another socket.
    pub const ADDRESS_IN_USE: Self = Self(-98);
    /// The other side has ended the connection.
    pub const CONNECTION_RESET: Self = Self(-104);
    /// Not connected.
    pub const NOT_CONNECTED: Self = Self(-107);
    /// Took too long.
    pub const TIMED_OUT: Self = Self(-110);
    /// Nobody listens there.
    pub const CONNECTION_REFUSED: Self = Self(-111);

    /// Returns Linux's words for it, or `None` if there are none here. (strerror(3))
    pub fn message(self) -> Option<&'static str> {
        let place = MESSAGES.binary_search_by_key(&self.0.checked_neg()?, |&(number, _)| number);
        place.ok().map(|place| MESSAGES[place].1)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message() {
            Some(message) => f.write_str(message),
            None => write!(f, "Unknown error {}", self.0.unsigned_abs()),
        }
    }
}

impl core::error::Error for Error {}

/// Ordered by number.
const MESSAGES: &[(i64, &str)] = &[
    (1, "Operation not permitted"),
    (2, "No such file or directory"),
    (3, "No such process"),
    (4, "Interrupted system call"),
    (5, "Input/output error"),
    (6, "No such device or address"),
    (7, "Argument list too long"),
    (8, "Exec format error"),
    (9, "Bad file descriptor"),
    (10, "No child processes"),
    (11, "Resource temporarily unavailable"),
    (12, "Cannot allocate memory"),
    (13, "Permission denied"),
    (14, "Bad address"),
    (16, "Device or resource busy"),
    (17, "File exists"),
    (18, "Invalid cross-device link"),
    (19, "No such device"),
    (20, "Not a directory"),
    (21, "Is a directory"),
    (22, "Invalid argument"),
    (23, "Too many open files in system"),
    (24, "Too many open files"),
    (25, "Inappropriate ioctl for device"),
    (26, "Text file busy"),
    (27, "File too large"),
    (28, "No space left on device"),
    (29, "Illegal seek"),
    (30, "Read-only file system"),
    (31, "Too many links"),
    (32, "Broken pipe"),
    (33, "Numerical argument out of domain"),
    (34, "Numerical result out of range"),
    (35, "Resource deadlock avoided"),
    (36, "File name too long"),
    (38, "Function not implemented"),
    (39, "Directory not empty"),
    (40, "Too many levels of symbolic links"),
    (75, "Value too large for defined data type"),
    (84, "Invalid or incomplete multibyte or wide character"),
    (88, "Socket operation on non-socket"),
    (89, "Destination address required"),
    (90, "Message too long"),
    (91, "Protocol wrong type for socket"),
    (92, "Protocol not available"),
    (93, "Protocol not supported"),
    (94, "Socket type not supported"),
    (95, "Operation not supported"),
    (97, "Address family not supported by protocol"),
    (98, "Address already in use"),
    (99, "Cannot assign requested address"),
    (100, "Network is down"),
    (101, "Network is unreachable"),
    (103, "Software caused connection abort"),
    (104, "Connection reset by peer"),
    (105, "No buffer space available"),
    (106, "Transport endpoint is already connected"),
    (107, "Transport endpoint is not connected"),
    (108, "Cannot send after transport endpoint shutdown"),
    (110, "Connection timed out"),
    (111, "Connection refused"),
    (113, "No route to host"),
    (114, "Operation already in progress"),
    (115, "Operation now in progress"),
];

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use std::string::ToString;

    #[test]
    fn errors_have_the_words_of_linux() {
        for (number, _) in MESSAGES {
            // The host's C library has the same words.
            let host = std::io::Error::from_raw_os_error(*number as i32).to_string();
            let own = Error(-number).to_string();
            assert_eq!(host, std::format!("{own} (os error {number})"));
        }
    }

    #[test]
    fn the_table_is_ordered_and_unknown_numbers_are_told() {
        assert!(MESSAGES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(Error(-4000).to_string(), "Unknown error 4000");
        assert_eq!(Error(i64::MIN).message(), None);
        assert_eq!(Error(0).message(), None);
    }
}
