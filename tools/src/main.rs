//! The lab: emulator set-up, images, runs.
fn main() {}
