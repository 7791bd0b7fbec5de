//! The crates that others use as libraries show each of their items in an example, and tell of each call how it can fail.

use crate::{expect_none, sources};

/// The libraries, and what lies in them that is for this repository alone.
const LIBRARIES: &[&str] = &[
    "host/crates/broker-nats/src/",
    "host/crates/broker-rabbitmq/src/",
    "host/crates/broker-sqlite/src/",
    "host/crates/delivery/src/",
    "host/crates/msg/src/",
    "host/crates/sandbox/src/",
];
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

/// The names that the root of a crate exports. Those of other crates and hidden ones are left out.
fn exported(lib: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_hidden = false;
    for statement in lib.split_inclusive(['\n', ';']).fold(vec![String::new()], joined) {
        match statement.trim().strip_prefix("pub use ").and_then(|path| path.strip_suffix(';')) {
            Some(path) if !is_hidden && !path.starts_with("wasmpost_") => {
                let list = path.rsplit("::").next().unwrap_or_default().trim_matches(['{', '}']);
                let list = if path.contains('{') { path.split(['{', '}']).nth(1).unwrap_or_default() } else { list };
                names.extend(list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned));
            }
            _ => {}
        }
        is_hidden = statement.contains("#[doc(hidden)]");
    }
    names
}

/// Joins the lines of a statement that goes on over several.
fn joined(mut statements: Vec<String>, piece: &str) -> Vec<String> {
    if let Some(last) = statements.last_mut() {
        let goes_on = last.trim_start().starts_with("pub use ") && !last.trim_end().ends_with(';');
        match goes_on {
            true => last.push_str(piece),
            false => statements.push(piece.to_owned()),
        }
    }
    statements
}

/// The code of all examples in documentation.
fn examples(text: &str) -> String {
    let mut is_code = false;
    let mut code = String::new();
    for line in text.lines() {
        let comment = ["///", "//!"].iter().find_map(|mark| line.trim_start().strip_prefix(mark));
        match comment.map(str::trim_start) {
            Some(line) if line.starts_with("```") => is_code = !is_code,
            Some(line) if is_code => code = code + line + "\n",
            Some(_) => {}
            None => is_code = false,
        }
    }
    code
}

#[test]
fn every_item_that_a_library_exports_is_in_an_example() {
    let is_named = |code: &str, name: &str| {
        code.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|word| word == name)
    };
    let all = sources();
    let found = LIBRARIES.iter().flat_map(|library| {
        let of_library = || all.iter().filter(|(name, _)| name.starts_with(library));
        let code: String = of_library().map(|(_, text)| examples(text)).collect();
        let lib = of_library().find(|(name, _)| *name == format!("{library}lib.rs"));
        let names = lib.map(|(_, text)| exported(text)).unwrap_or_default();
        assert!(!names.is_empty(), "{library} exports something");
        names.into_iter().filter(move |name| !is_named(&code, name)).map(move |name| format!("{library}: {name}"))
    });
    expect_none("items without an example", found.collect());
}

#[test]
fn exported_names_and_the_code_of_examples_are_found() {
    let lib = "mod a;\npub use a::{B, c};\npub use a::D;\n#[doc(hidden)]\npub use a::E;\npub use f::{\n    G,\n    H,\n};\n\
               pub use wasmpost_msg::i;\n";
    assert_eq!(exported(lib), ["B", "c", "D", "G", "H"]);
    assert_eq!(examples("/// A.\n///\n/// ```\n/// use a::B;\n/// ```\n/// C\nstruct D;\n"), "use a::B;\n");
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
