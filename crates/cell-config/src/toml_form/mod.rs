//! TOML: what users write. (Being written; see WHO-DOES-WHAT.txt.)
