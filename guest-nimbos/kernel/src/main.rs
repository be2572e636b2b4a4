//! The NimbOS co-kernel.
fn main() {}
