//! User interrupts: UPID and UITT types and the instructions.
