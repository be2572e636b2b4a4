//! The text form of cell configurations: TOML, what users write.
//!
//! A crate of its own, because it needs `std` and the hypervisor, which links `cell-config`, has none.
//!
//! Reading goes text, `tables` (shapes of values, limits of lists), [`System`](cell_config::System) (names become indices,
//! defaults are filled in), [`check`](cell_config::System::check). Each step's errors become a [`TomlError`] with the line and
//! the key.

#![forbid(unsafe_code)]

mod error;
mod read;
mod tables;
mod values;
mod write;

pub use error::TomlError;
pub use read::from_toml;
pub use write::to_toml;
