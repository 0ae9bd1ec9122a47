//! Puts the functions that `sectag config` runs side by side in the program, where the linker can: `link-order/config.ld`
//! says which, docs/performance.md what for. Everywhere else the program is linked as ever.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where this is measured; names of functions and objects are those of this target.
const TARGET: &str = "x86_64-unknown-linux-gnu";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let Some(order) = variable("CARGO_MANIFEST_DIR")
        .map(|home| PathBuf::from(home).join("link-order").join("config.ld"))
    else {
        return;
    };
    println!("cargo::rerun-if-changed={}", order.display());
    // Another linker may be named by any of these.
    for name in [
        "RUSTFLAGS",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER",
        "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
    ] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let optimised = variable("OPT_LEVEL").is_some_and(|level| level != "0");
    if !optimised || variable("TARGET").as_deref() != Some(TARGET) {
        return;
    }
    // One word: the compiler in front of the linker takes it as it is, and so does a linker without one.
    let argument = format!("-T{}", order.display());
    if links(&argument) == Some(true) {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}

/// Links an empty program as this one will be linked. Only rust-lld and its kin know the second argument, which does nothing
/// here: gold refuses the first, and GNU ld puts a section of its own where no code belongs.
fn links(argument: &str) -> Option<bool> {
    let folder = variable("OUT_DIR")?;
    let folder = Path::new(&folder);
    let source = folder.join("probe.rs");
    fs::write(&source, "fn main() {}\n").ok()?;
    let mut words = ["RUSTC_WRAPPER", "RUSTC"]
        .into_iter()
        .filter_map(variable)
        .filter(|word| !word.is_empty());
    let mut rustc = Command::new(words.next()?);
    rustc
        .args(words)
        .args(["--crate-name", "probe", "--crate-type", "bin"])
        .args(["--target", TARGET, "-C", &format!("link-arg={argument}")])
        .args(["-C", "link-arg=-Wl,--no-warn-symbol-ordering"])
        .arg("-o")
        .arg(folder.join("probe"))
        .arg(source);
    if let Some(linker) = variable("RUSTC_LINKER") {
        rustc.args(["-C", &format!("linker={linker}")]);
    }
    if let Some(flags) = variable("CARGO_ENCODED_RUSTFLAGS").filter(|flags| !flags.is_empty()) {
        rustc.args(flags.split('\u{1f}'));
    }
    let ended = rustc.stdout(Stdio::null()).stderr(Stdio::null()).status();
    Some(ended.ok()?.success())
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}
