//! Cell configurations: TOML in, checked binary form out and in.
