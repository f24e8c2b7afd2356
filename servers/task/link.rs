// The build script of a task: `include!("../task/link.rs");` below one line of documentation. It hands the linker the
// task's link script, and only where the task is built to run, not on the host.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let folder = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let script = std::path::Path::new(&folder).join("task.ld");
    std::fs::write(&script, include_str!("task.ld")).expect("OUT_DIR is writable");
    println!("cargo::rustc-link-arg-bins=-T{}", script.display());
    println!("cargo::rustc-link-arg-bins=-zmax-page-size=4096");
}
