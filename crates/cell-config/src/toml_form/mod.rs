//! TOML: what users write.
//!
//! Reading goes text, [`tables`] (shapes of values, limits of lists), [`System`](crate::System) (names become indices,
//! defaults are filled in), [`check`](crate::System::check). Each step's errors become a [`TomlError`] with the line and
//! the key.

mod error;
mod read;
mod tables;
mod values;
mod write;

pub use error::TomlError;
pub use read::from_toml;
pub use write::to_toml;
