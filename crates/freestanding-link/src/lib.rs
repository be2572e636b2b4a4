// SPDX-License-Identifier: MIT OR Apache-2.0
//! For build scripts: links the package's binaries without the C start-up files, by a linker script of their own. Plain
//! stable Rust needs nothing more to build a program without an operating system.
#![forbid(unsafe_code)]

use std::env;

/// Tells Cargo to link the package's binaries as static executables at the addresses of `script`, a file of the package.
///
/// # Panics
/// Outside a build script.
pub fn with_script(script: &str) {
    let folder =
        env::var("CARGO_MANIFEST_DIR").expect("Cargo sets CARGO_MANIFEST_DIR for build scripts");
    for argument in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--build-id=none",
        "-Wl,-z,max-page-size=4096",
        "-Wl,-z,norelro",
        &format!("-T{folder}/{script}"),
    ] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    println!("cargo:rerun-if-changed={script}");
}
