//! Tiny cells for the system tests.
