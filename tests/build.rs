//! Lists the hostile guests: a constant for each of their files, which a test has to name.
#![allow(clippy::unwrap_used, clippy::panic)] // A fault fails the build.

use std::fmt::Write;
use std::path::Path;

fn main() {
    let guests = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("guests/hostile");
    let mut constants = String::new();
    for name in names(&guests.join("examples"), "rs") {
        let file = name.replace('_', "-");
        writeln!(constants, "pub(crate) const {}: Hostile = Hostile::module({file:?});", name.to_uppercase()).unwrap();
    }
    for name in names(&guests.join("wat"), "wat") {
        let file = name.replace('_', "-");
        let text = guests.join(format!("wat/{name}.wat"));
        writeln!(
            constants,
            "pub(crate) const {}: Hostile = Hostile::text({file:?}, include_str!({text:?}));",
            name.to_uppercase()
        )
        .unwrap();
    }
    let out = std::env::var_os("OUT_DIR").unwrap();
    std::fs::write(Path::new(&out).join("hostile.rs"), constants).unwrap();
}

/// The names of the files in a directory, without their extension, in order.
fn names(directory: &Path, extension: &str) -> Vec<String> {
    println!("cargo::rerun-if-changed={}", directory.display());
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<_> = files
        .map(|path| {
            let found = path.extension().is_some_and(|found| found == extension);
            assert!(found, "{} is no guest: it does not end in .{extension}", path.display());
            path.file_stem().unwrap().to_str().unwrap().to_owned()
        })
        .collect();
    names.sort();
    names
}
