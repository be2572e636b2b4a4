//! System tests in the emulator.
fn main() {}
