//! The shadow process: serves forwarded system calls.
fn main() {}
