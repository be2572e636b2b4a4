//! Programs that run on NimbOS.
