// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who may post which user vector to a thread.

use uintr::USER_VECTORS;

use crate::abi::UINTR_EVERYBODY;

const NOBODY: u32 = 0;
const EVERYBODY: u32 = u32::MAX;

/// For each user vector, the process other than the own one that may post it: none, one, or all.
#[derive(Clone, Debug)]
pub struct Grants {
    processes: [u32; USER_VECTORS as usize],
}

impl Grants {
    /// Nobody else may post anything.
    pub const fn new() -> Self {
        Self {
            processes: [NOBODY; USER_VECTORS as usize],
        }
    }

    /// Lets `process`, an argument of `uintr_allow`, post `vector`, and nobody else any more. Returns `None` if there is no
    /// such vector, or the number cannot be a process's.
    pub fn allow(&mut self, vector: u64, process: u64) -> Option<()> {
        let process = match process {
            UINTR_EVERYBODY => EVERYBODY,
            process => u32::try_from(process)
                .ok()
                .filter(|&process| process != EVERYBODY)?,
        };
        *self.processes.get_mut(usize::try_from(vector).ok()?)? = process;
        Some(())
    }

    /// Tells whether the process with this number may post `vector`.
    pub fn allows(&self, vector: u8, process: u32) -> bool {
        match self.processes.get(usize::from(vector)) {
            None | Some(&NOBODY) => false,
            Some(&EVERYBODY) => true,
            Some(&allowed) => allowed == process,
        }
    }
}

impl Default for Grants {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_for_whom_it_was_given_to() {
        let mut grants = Grants::new();
        assert!(!grants.allows(3, 7));
        grants.allow(3, 7).unwrap();
        assert!(grants.allows(3, 7) && !grants.allows(3, 8) && !grants.allows(4, 7));
        grants.allow(3, UINTR_EVERYBODY).unwrap();
        assert!(grants.allows(3, 7) && grants.allows(3, 8));
        grants.allow(3, 0).unwrap();
        assert!(!grants.allows(3, 7) && !grants.allows(3, 0));
    }

    #[test]
    fn what_is_no_vector_or_process_is_refused() {
        let mut grants = Grants::new();
        for (vector, process) in [
            (64, 7),
            (u64::MAX, 7),
            (3, u32::MAX.into()),
            (3, 1 << 32),
            (3, u64::MAX - 1),
        ] {
            assert_eq!(grants.allow(vector, process), None);
        }
        assert!(!grants.allows(64, 7) && !grants.allows(255, 7));
        assert!((0..64).all(|vector| !grants.allows(vector, 7)));
    }
}
