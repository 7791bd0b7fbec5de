//! The house is in order: what is a row in a table is not forgotten elsewhere, and files stay small and explained.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A fault fails the test.

use std::path::{Path, PathBuf};

use wasmpost_tests::root;

/// The longest file without its tests, and the longest function, in lines.
const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
/// The longest ARCHITECTURE.md.
const ARCHITECTURE_LINES_MAX: usize = 200;

/// Names that say nothing about what they name.
const EMPTY_NAMES: &[&str] = &["Manager", "Helper", "Util", "Common", "Impl"];

fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Every source file of the project, with its text.
fn sources() -> Vec<(String, String)> {
    let roots = ["host", "tests", "guest-examples"];
    let paths = roots.iter().flat_map(|directory| files(&root().join(directory), "rs"));
    let name = |path: &Path| path.strip_prefix(root()).unwrap().display().to_string();
    let sources: Vec<_> = paths.map(|path| (name(&path), std::fs::read_to_string(&path).unwrap())).collect();
    assert!(sources.len() > 80, "the sources are where they are looked for");
    sources
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

fn expect_none(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn every_file_begins_by_saying_what_it_is() {
    let silent = sources().into_iter().filter(|(_, text)| !text.starts_with("//! ")).map(|(name, _)| name);
    expect_none("files without a first //! sentence", silent.collect());
}

#[test]
fn no_file_is_longer_than_can_be_read_at_once() {
    let long = sources().into_iter().filter_map(|(name, text)| {
        let code = text.split("#[cfg(test)]").next().unwrap();
        let lines = code.lines().count();
        (lines > FILE_LINES_MAX).then(|| format!("{name}: {lines} lines"))
    });
    expect_none("files that are too long", long.collect());
}

#[test]
fn no_function_is_longer_than_a_screen() {
    let mut long = Vec::new();
    for (name, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let code = line.trim_start();
            let is_function = ["fn ", "pub fn ", "async fn ", "pub async fn ", "pub(crate) fn ", "pub(super) fn "]
                .iter()
                .any(|keyword| code.starts_with(keyword));
            if !is_function || line.ends_with(';') || line.ends_with('}') {
                continue;
            }
            let end = format!("{}}}", &line[..line.len() - code.len()]);
            let length = lines[start..].iter().position(|line| *line == end).unwrap_or(0) + 1;
            if length > FUNCTION_LINES_MAX {
                long.push(format!("{name}:{}: {length} lines", start + 1));
            }
        }
    }
    expect_none("functions that are too long", long);
}

#[test]
fn names_say_what_they_name() {
    let mut found = Vec::new();
    for (name, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            let declared = ["struct ", "enum ", "trait "].iter().find_map(|keyword| {
                line.trim_start().strip_prefix("pub ").unwrap_or(line).trim_start().strip_prefix(keyword)
            });
            if let Some(declared) = declared
                && EMPTY_NAMES.iter().any(|empty| {
                    declared.split(|letter: char| !letter.is_alphanumeric()).next().unwrap().ends_with(empty)
                })
            {
                found.push(format!("{name}:{}: {declared}", number + 1));
            }
            if line.trim_start().starts_with("pub fn get_") {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    expect_none("names that say nothing", found);
}

#[test]
fn unsafe_code_is_in_two_places() {
    // Split, so that this file is not found itself.
    let word = concat!("unsafe", " {");
    let places: Vec<_> = sources().into_iter().filter(|(_, text)| text.contains(word)).map(|(name, _)| name).collect();
    let load = ["descriptors.rs", "mapped.rs"].map(|name| format!("host/crates/sandbox/src/load/{name}"));
    assert_eq!(places, load);
}

#[test]
fn every_limit_is_in_the_readme_with_its_default() {
    let readme = read("README.md");
    let missing = wasmpost_sandbox::Limits::table().into_iter().filter_map(|row| {
        let line = format!("| `{}` | {} | {} |", row.name, row.default, row.doc);
        (!readme.contains(&line)).then_some(line)
    });
    expect_none("limits that the README does not tell", missing.collect());
}

#[test]
fn every_broker_and_verb_is_in_the_readme() {
    let readme = read("README.md");
    for scheme in wasmpost::registry::SCHEMES {
        assert!(readme.contains(&format!("`{}:", scheme.name)), "{}", scheme.name);
    }
    for verb in wasmpost::cli::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
        assert!(readme.contains(&format!("| `{}` |", verb.get_name())), "{}", verb.get_name());
    }
}

#[test]
fn every_guest_example_is_in_the_readme_and_explains_itself() {
    let readme = read("README.md");
    for entry in std::fs::read_dir(root().join("guest-examples")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        // No example, but cases for all of them.
        if name == "fixtures" {
            continue;
        }
        assert!(readme.contains(&format!("(guest-examples/{name})")), "{name} is in the README");
        assert!(root().join("guest-examples").join(&name).join("README.md").exists(), "{name} has a README");
    }
}

#[test]
fn every_item_of_the_contract_is_documented() {
    let mut bare = Vec::new();
    for path in files(&root().join("wit"), "wit") {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (number, line) in lines.iter().enumerate() {
            let is_item = ["interface ", "world ", "resource ", "variant ", "enum ", "record ", "type "]
                .iter()
                .any(|keyword| line.starts_with(keyword))
                || line.contains(": func(");
            let before = number.checked_sub(1).map_or("", |before| lines[before]);
            if is_item && !before.starts_with("///") {
                bare.push(format!("{}:{}: {line}", path.display(), number + 1));
            }
        }
    }
    expect_none("items without documentation", bare);
}

#[test]
fn the_architecture_can_be_read_in_a_sitting() {
    assert!(read("ARCHITECTURE.md").lines().count() <= ARCHITECTURE_LINES_MAX);
}

#[test]
fn no_source_names_a_place_on_one_machine() {
    let places = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let found = sources().into_iter().filter(|(_, text)| places.iter().any(|place| text.contains(place)));
    expect_none("files that name a place on one machine", found.map(|(name, _)| name).collect());
}
