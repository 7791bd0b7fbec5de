//! Makes templates for `wasmpost new` of the directories in `guest-examples`: each that explains itself in a README is one,
//! and so are `echo` and `batch` within it, where links lead to what they share.
//! Files that the repository does not keep, such as those that a build leaves, are not part of a template.
#![allow(clippy::unwrap_used, clippy::panic)] // A fault fails the build.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The largest file of a template, in bytes: anything larger came in by accident.
const FILE_BYTES_MAX: u64 = 512 << 10;
/// The templates within an example: the one that is begun with, and the one that gets batches.
const WITHIN: [(&str, &str); 2] = [("Echo", "echo"), ("Batch", "batch")];
/// The cases that hold for every example, and for every one of those within.
const CASES: [(&str, &str); 3] =
    [("CASES_WEBHOOKS", "fixtures"), ("CASES_ECHO", "fixtures-echo"), ("CASES_BATCH", "fixtures-batch")];
/// The templates of a package, which has no repository around it: `scripts/package.sh` writes them.
const PACKED: &str = "packed/templates.rs";

fn main() {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap());
    let package = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap());
    if !package.join("../guest-examples").exists() {
        let copied = std::fs::copy(package.join(PACKED), out.join("templates.rs"));
        copied.unwrap_or_else(|error| panic!("{PACKED} of a package is made by scripts/package.sh: {error}"));
        return;
    }
    let root = package.join("..").canonicalize().unwrap();
    let examples = root.join("guest-examples");
    let walk = Walk { ignored: ignored(&root.join(".gitignore")), root };
    let mut contents = Contents::default();
    let mut code = String::new();
    writeln!(code, "pub(super) const TEMPLATES: &[Template] = &[").unwrap();
    for directory in entries(&examples) {
        let language = directory.file_name().unwrap().to_str().unwrap();
        if CASES.iter().any(|(_, cases)| *cases == language) || !directory.join("README.md").exists() {
            continue;
        }
        let within = WITHIN.map(|(example, name)| (example, directory.join(name)));
        for (example, top) in within.into_iter().chain([("Webhooks", directory.clone())]) {
            let found = walk.below(&top);
            let start =
                format!("language: {language:?}, example: Example::{example}, contracts: &{:?}", found.contracts);
            writeln!(code, "Template {{ {start}, files: &[").unwrap();
            contents.list(&mut code, &found);
            writeln!(code, "] }},").unwrap();
        }
    }
    writeln!(code, "];").unwrap();
    let cases = CASES.map(|(constant, directory)| (constant, examples.join(directory)));
    for (constant, directory) in [("CONTRACT", walk.root.join("wit"))].into_iter().chain(cases) {
        writeln!(code, "pub(super) const {constant}: &[TemplateFile] = &[").unwrap();
        contents.list(&mut code, &walk.below(&directory));
        writeln!(code, "];").unwrap();
    }
    contents.embed(&mut code);
    println!("cargo::rerun-if-changed={}", walk.root.join(".gitignore").display());
    std::fs::write(out.join("templates.rs"), code).unwrap();
}

/// The files of a directory.
#[derive(Default)]
struct Found {
    /// The name of each file, with its place.
    files: Vec<(String, PathBuf)>,
    /// Links to the contract.
    contracts: Vec<String>,
}

struct Walk {
    root: PathBuf,
    /// Directories that the repository does not keep, as paths whose parts may be `*`.
    ignored: Vec<Vec<String>>,
}

impl Walk {
    /// The files that a template has of its directory.
    fn below(&self, top: &Path) -> Found {
        let mut found = Found::default();
        self.descend(top, top, &mut found);
        found
    }

    fn descend(&self, top: &Path, directory: &Path, found: &mut Found) {
        for path in entries(directory) {
            let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
            let leads_to = path.is_symlink().then(|| path.canonicalize().unwrap());
            if leads_to.as_ref() == Some(&self.root.join("wit")) {
                // The contract is in the program once, and in a project as files.
                found.contracts.push(name);
            } else if path.is_dir() {
                // A link within an example leads to what its templates share.
                let stays = leads_to.is_none_or(|place| {
                    top.parent().is_some_and(|example| place.starts_with(example))
                        || place.starts_with(self.root.join("wit"))
                });
                assert!(stays, "{} leads out of the example and the contract", path.display());
                let is_within = WITHIN.iter().any(|(_, name)| path == top.join(name));
                if !is_within && !self.is_ignored(&path) {
                    self.descend(top, &path, found);
                }
            } else {
                assert!(path.metadata().unwrap().len() <= FILE_BYTES_MAX, "{} is no source", path.display());
                // Not the directory: cargo would watch what builds leave in it as well.
                println!("cargo::rerun-if-changed={}", path.display());
                found.files.push((name, path));
            }
        }
    }

    fn is_ignored(&self, directory: &Path) -> bool {
        let parts: Vec<_> =
            directory.strip_prefix(&self.root).unwrap().iter().map(|part| part.to_str().unwrap()).collect();
        self.ignored.iter().any(|pattern| match &pattern[..] {
            [anywhere] => parts.last() == Some(&anywhere.as_str()),
            pattern => {
                pattern.len() == parts.len()
                    && pattern.iter().zip(&parts).all(|(wanted, part)| wanted == "*" || wanted == part)
            }
        })
    }
}

/// The directories in a file of what is to be ignored: `/a/*/b/` means those of this path, and `b/` any of this name.
fn ignored(file: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(file).unwrap();
    let directories = text.lines().filter_map(|line| line.strip_suffix('/'));
    directories.map(|line| line.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()).collect()
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

/// The files that are embedded, once each, whatever the number of templates that have them.
#[derive(Default)]
struct Contents {
    numbers: BTreeMap<PathBuf, usize>,
}

impl Contents {
    fn list(&mut self, code: &mut String, found: &Found) {
        for (name, path) in &found.files {
            let next = self.numbers.len();
            let number = self.numbers.entry(path.canonicalize().unwrap()).or_insert(next);
            writeln!(code, "TemplateFile {{ path: {name:?}, content: FILE_{number} }},").unwrap();
        }
    }

    fn embed(&self, code: &mut String) {
        for (path, number) in &self.numbers {
            writeln!(code, "const FILE_{number}: &[u8] = include_bytes!({path:?});").unwrap();
        }
    }
}
