//! The forwarding ring between the co-kernel and the shadow process.
