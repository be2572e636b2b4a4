//! Links the freestanding binary by its own script, without the C start-up files.

fn main() {
    let script = format!("{}/linker.ld", env!("CARGO_MANIFEST_DIR"));
    println!("cargo:rerun-if-changed={script}");
    println!("cargo:rerun-if-changed=src/entry.S");
    for argument in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--build-id=none",
        "-Wl,-z,max-page-size=4096",
        "-Wl,-z,norelro",
        &format!("-T{script}"),
    ] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
}
