//! The isthmus command line.
fn main() {}
