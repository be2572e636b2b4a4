// SPDX-License-Identifier: MIT OR Apache-2.0
//! SIGTERM and SIGINT: asked to stop.
#![expect(unsafe_code, reason = "installs a signal handler")]

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};

static REQUESTED: AtomicBool = AtomicBool::new(false);

extern "C" fn on_signal(_signal: i32) {
    REQUESTED.store(true, Ordering::Relaxed);
}

/// Notes SIGTERM and SIGINT from now on. System calls that wait return EINTR.
pub fn watch() -> Result<()> {
    let on_signal: extern "C" fn(i32) = on_signal;
    for signal in [libc::SIGTERM, libc::SIGINT] {
        // SAFETY: all-zero is a sigaction without flags and with an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = on_signal as usize;
        // SAFETY: the handler only stores to an atomic; the old action is not asked for.
        let result = unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
        ensure!(
            result == 0,
            "cannot handle signal {signal}: {}",
            std::io::Error::last_os_error()
        );
    }
    Ok(())
}

/// Tells whether the process was asked to stop.
pub fn is_requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}
