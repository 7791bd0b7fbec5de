//! The crates that others use as libraries tell of each call how it can fail.

use crate::{expect_none, sources};

/// The libraries, and what lies in them that is for this repository alone.
const LIBRARIES: &[&str] = &["host/crates/msg/src/", "host/crates/delivery/src/", "host/crates/sandbox/src/"];
const WITHIN: &str = "delivery/src/prove/";

/// The lines of the functions that others can call and that may fail, but have no section about their errors.
fn silent(text: &str) -> Vec<usize> {
    let lines: Vec<&str> = text.split("#[cfg(test)]").next().unwrap().lines().collect();
    let mut silent = Vec::new();
    let mut is_in_trait = false;
    for (at, line) in lines.iter().enumerate() {
        let signature =
            lines[at..].iter().take_while(|line| !line.trim().is_empty()).copied().collect::<Vec<_>>().join(" ");
        let end = signature.find(['{', ';']).unwrap_or(signature.len());
        let code = line.trim_start();
        let is_public = ["pub fn ", "pub async fn "].iter().any(|start| code.starts_with(start));
        if line.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
            is_in_trait = line.starts_with("pub trait ");
        }
        let is_of_trait = is_in_trait && ["fn ", "async fn "].iter().any(|start| code.starts_with(start));
        let returned = signature[..end].rsplit_once(") -> ").map_or("", |(_, returned)| returned);
        let may_fail = ["Result<", "io::Result<", "std::io::Result<"].iter().any(|start| returned.starts_with(start));
        let mut above = lines[..at].iter().rev().map(|line| line.trim_start());
        let tells = above.by_ref().skip_while(|line| line.starts_with("#[")).take_while(|line| line.starts_with("///"));
        if (is_public || is_of_trait) && may_fail && !tells.into_iter().any(|line| line == "/// # Errors") {
            silent.push(at + 1);
        }
    }
    silent
}

#[test]
fn every_call_of_the_libraries_that_can_fail_tells_its_errors() {
    let libraries = sources()
        .into_iter()
        .filter(|(name, _)| LIBRARIES.iter().any(|library| name.starts_with(library)) && !name.contains(WITHIN));
    let found = libraries.flat_map(|(name, text)| silent(&text).into_iter().map(move |line| format!("{name}:{line}")));
    expect_none("functions without a section # Errors", found.collect());
}

#[test]
fn functions_without_errors_are_found_however_they_are_written() {
    let told = "/// It.\n///\n/// # Errors\n///\n/// One.\n#[must_use]\npub fn it() -> Result<(), E> {\n}\n";
    assert_eq!(silent(told), [] as [usize; 0]);
    assert_eq!(silent("/// It.\npub async fn it(\n    a: A,\n) -> io::Result<()> {\n}\n"), [2]);
    assert_eq!(silent("pub trait T {\n    /// It.\n    fn it(&self) -> Result<(), E>;\n}\n"), [3]);
    assert_eq!(silent("/// It.\npub fn it(result: &Result<(), E>) -> Verdict {\n}\n"), [] as [usize; 0]);
    let hidden = "pub(super) trait T {\n    /// It.\n    fn it(&self) -> Result<(), E>;\n}\n";
    assert_eq!(silent(hidden), [] as [usize; 0]);
    assert_eq!(silent("/// It.\nfn it() -> Result<(), E> {\n}\n"), [] as [usize; 0]);
}
