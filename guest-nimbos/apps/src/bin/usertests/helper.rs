// SPDX-License-Identifier: MIT OR Apache-2.0
//! What this program does when a test has started it by `exec`.

use nimbos_apps::Arguments;
use nimbos_apps::system;

/// Status of a helper that got what it expected.
pub const AS_EXPECTED: i32 = 42;
/// Status of one that did not.
const NOT_AS_EXPECTED: i32 = 43;

/// Does what the first argument says, if it is one of these; returns the status.
pub fn run(arguments: Arguments) -> Option<i32> {
    let holds = match arguments.get(1)? {
        "--three-arguments" => {
            arguments.count() == 5
                && arguments.get(0) == Some("a name")
                && arguments.get(2) == Some("one")
                && arguments.get(3) == Some("")
                && arguments.get(4) == Some("three")
        }
        // After `exec` of a process with threads there is one, with the process's number.
        "--alone" => system::thread_id() == system::process_id(),
        _ => return None,
    };
    Some(if holds { AS_EXPECTED } else { NOT_AS_EXPECTED })
}
