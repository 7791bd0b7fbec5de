//! Inside a crate arrows point down too: the code of a module names those that its crate's list of floors lets it name.
//!
//! The list is the section `# Floors` in the documentation of `lib.rs`, from the ground up: a number for each floor, and
//! between dots its modules, each with a few words about it. In parentheses behind a module are those beside it that it
//! may name. Nothing names the root of its crate.

use std::collections::BTreeSet;

use super::{expect_none, files, root};

/// A module of a list.
#[derive(Debug, PartialEq, Eq)]
struct Module {
    name: String,
    floor: usize,
    /// Those beside it that it may name.
    joined: Vec<String>,
}

/// A place in the code that names something at the root of the crate.
#[derive(Debug, PartialEq, Eq)]
struct Arrow {
    line: usize,
    to: String,
}

fn names(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The modules that the list in a `lib.rs` has.
fn listed(lib: &str) -> Vec<Module> {
    let section = lib.lines().skip_while(|line| *line != "//! # Floors").skip(1);
    let section = section.map_while(|line| line.strip_prefix("//!")).take_while(|line| !line.starts_with(" # "));
    let mut floors: Vec<String> = Vec::new();
    for line in section {
        let line = line.strip_prefix(' ').unwrap_or(line);
        match (line.split_once(". "), floors.last_mut()) {
            (Some((number, modules)), _) if number.parse::<usize>().is_ok() => floors.push(modules.to_owned()),
            (_, Some(floor)) if line.starts_with(' ') => *floor += line,
            _ => {}
        }
    }
    let module = |floor: usize, text: &str| {
        let (before, joined) = text.split_once(" (").unwrap_or((text, ""));
        let joined = names(joined.split(')').next().unwrap());
        names(before).into_iter().next().map(|name| Module { name, floor, joined })
    };
    let on_floor = |(floor, text): (usize, &String)| text.split(" · ").filter_map(|text| module(floor, text)).collect();
    floors.iter().enumerate().flat_map::<Vec<_>, _>(on_floor).collect()
}

/// The modules that a `lib.rs` has.
fn declared(lib: &str) -> BTreeSet<&str> {
    let lines = lib.lines().filter_map(|line| line.strip_suffix(';'));
    lines.filter_map(|line| line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod ")).collect()
}

/// The code of a line without what is said about it.
fn code(line: &str) -> &str {
    if line.trim_start().starts_with("//") { "" } else { line.split(" // ").next().unwrap() }
}

fn is_letter(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The first names of what a path goes on with: several where it goes on in braces.
fn first_names(rest: &str) -> Vec<String> {
    let name = |text: &str| text.trim_start().chars().take_while(|letter| is_letter(*letter)).collect::<String>();
    let Some(inner) = rest.strip_prefix('{') else { return vec![name(rest)] };
    let mut depth = 0;
    let mut begin = 0;
    let mut found = Vec::new();
    for (at, letter) in inner.char_indices() {
        match letter {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                found.push(inner[begin..at].trim());
                begin = at + 1;
                if letter == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    found.iter().filter(|item| !item.is_empty()).map(|item| name(item)).collect()
}

/// How many modules within the file each line lies in.
fn inner_modules(lines: &[&str]) -> Vec<usize> {
    let mut open: Vec<String> = Vec::new();
    let depth = |line: &&str| {
        let depth = open.len();
        let indent = &line[..line.len() - line.trim_start().len()];
        let words: Vec<_> = line.split_whitespace().collect();
        if matches!(words[..], ["mod", _, "{"] | [_, "mod", _, "{"]) {
            open.push(indent.to_owned());
        } else if open.last().is_some_and(|last| line.starts_with(&format!("{last}}}"))) {
            open.pop();
        }
        depth
    };
    lines.iter().map(depth).collect()
}

/// Everything at the root of the crate that a file names, which is so many modules deep in it.
fn arrows(text: &str, depth: usize) -> Vec<Arrow> {
    let lines: Vec<&str> = text.lines().map(code).collect();
    let inner = inner_modules(&lines);
    let code = lines.join("\n");
    let mut found = Vec::new();
    for (at, _) in code.match_indices("::") {
        let before = &code[..at];
        let words = before.rsplit(|letter: char| !is_letter(letter) && letter != ':').next().unwrap();
        let parts: Vec<_> = words.split("::").collect();
        let line = before.matches('\n').count();
        let is_root = match parts[..] {
            ["crate"] => true,
            _ => parts.iter().all(|part| *part == "super") && parts.len() == depth + inner[line],
        };
        if is_root {
            found.extend(first_names(&code[at + 2..]).into_iter().map(|to| Arrow { line: line + 1, to }));
        }
    }
    found
}

/// The faults of a crate with this `lib.rs` and these files, named from its `src` on.
fn faults(lib: &str, files: &[(String, String)]) -> Vec<String> {
    let modules = listed(lib);
    let find = |name: &str| modules.iter().find(|module| module.name == name);
    let mut found = Vec::new();
    let declared = declared(lib);
    for name in &declared {
        let count = modules.iter().filter(|module| module.name == **name).count();
        if count != 1 {
            found.push(format!("lib.rs: {name} is {count} times in the list of floors"));
        }
    }
    let unknown = modules.iter().filter(|module| !declared.contains(&*module.name));
    found.extend(unknown.map(|module| format!("lib.rs: {} is on a floor, but no module", module.name)));
    let mut used = BTreeSet::new();
    for (name, text) in files {
        let parts: Vec<_> = name.trim_end_matches(".rs").split('/').filter(|part| *part != "mod").collect();
        let Some(from) = find(parts[0]) else { continue };
        for Arrow { line, to } in arrows(text, parts.len()) {
            match find(&to) {
                None => found.push(format!("{name}:{line}: names {to:?} at the root of the crate")),
                Some(to) if to.name == from.name || to.floor < from.floor => {}
                Some(to) if to.floor == from.floor && from.joined.contains(&to.name) => {
                    used.insert((&from.name, &to.name));
                }
                Some(to) => found.push(format!("{name}:{line}: {} may not name {}", from.name, to.name)),
            }
        }
    }
    for module in &modules {
        let idle = module.joined.iter().filter(|to| !used.contains(&(&module.name, *to)));
        found.extend(idle.map(|to| format!("lib.rs: {} is joined to {to}, which it does not name", module.name)));
    }
    found
}

#[test]
fn arrows_inside_a_crate_point_down() {
    let mut crates = vec![root().join("host")];
    crates.extend(std::fs::read_dir(root().join("host/crates")).unwrap().map(|entry| entry.unwrap().path()));
    assert!(crates.len() > 5, "the crates are where they are looked for");
    let found = crates.iter().flat_map(|path| {
        let source = path.join("src");
        let lib = std::fs::read_to_string(source.join("lib.rs")).unwrap();
        let name = |file: &std::path::Path| file.strip_prefix(&source).unwrap().display().to_string();
        let files: Vec<_> = files(&source, "rs")
            .iter()
            .map(|file| (name(file), std::fs::read_to_string(file).unwrap()))
            .filter(|(name, _)| name != "lib.rs" && name != "main.rs")
            .collect();
        assert!(!listed(&lib).is_empty(), "{}: lib.rs has a section # Floors", path.display());
        let within = path.strip_prefix(root()).unwrap().join("src").display().to_string();
        faults(&lib, &files).into_iter().map(move |fault| format!("{within}/{fault}")).collect::<Vec<_>>()
    });
    expect_none("arrows that the floors do not allow", found.collect());
}

/// The faults of a crate with three floors, in which `path` has this text.
fn faults_with(path: &str, text: &str) -> Vec<String> {
    let lib = "//! A crate.\n//!\n//! # Floors\n//!\n//! 1. `ground`: lies below\n//! 2. `left` (`right`): one side ·\n\
               //!    `right`\n//! 3. `roof`: all of it\n\nmod ground;\npub mod left;\nmod right;\nmod roof;\npub use roof::Tile;\n";
    let joined = ("left/mod.rs".to_owned(), "use crate::right::Door;\n".to_owned());
    faults(lib, &[joined, (path.to_owned(), text.to_owned())])
}

#[test]
fn arrows_that_the_list_allows_are_let_through() {
    for (path, text) in [
        ("roof.rs", "use crate::left::Window;\nuse super::ground::Stone;\n"),
        (
            "roof/beam.rs",
            "use crate::{ground::{Sand, Stone}, left};\nuse super::Tile;\nuse super::super::right::Door;\n",
        ),
        ("left/window.rs", "fn open(door: &crate::right::Door) {}\n"),
        ("right.rs", "/// See [`Tile`](crate::roof::Tile).\nstruct Door; // Not of crate::roof.\n"),
        ("right.rs", "mod tests {\n    use super::Door;\n}\n"),
    ] {
        assert_eq!(faults_with(path, text), Vec::<String>::new(), "{path}: {text}");
    }
}

#[test]
fn arrows_up_and_to_the_side_are_found_however_they_are_written() {
    for (path, text, fault) in [
        ("ground.rs", "use crate::roof::Tile;\n", "ground.rs:1: ground may not name roof"),
        (
            "ground.rs",
            "use crate::{\n    ground::Stone,\n    roof::{Beam, Tile},\n};\n",
            "ground.rs:1: ground may not name roof",
        ),
        ("ground.rs", "\nuse super::left;\n", "ground.rs:2: ground may not name left"),
        ("ground/sand.rs", "use super::super::roof::Tile;\n", "ground/sand.rs:1: ground may not name roof"),
        ("ground.rs", "fn cover() -> crate::roof::Tile {}\n", "ground.rs:1: ground may not name roof"),
        ("ground.rs", "mod tests {\n    use super::super::roof::Tile;\n}\n", "ground.rs:2: ground may not name roof"),
        ("right.rs", "use crate::left::Window;\n", "right.rs:1: right may not name left"),
        ("roof.rs", "use crate::Tile;\n", "roof.rs:1: names \"Tile\" at the root of the crate"),
        ("roof.rs", "use super::*;\n", "roof.rs:1: names \"\" at the root of the crate"),
    ] {
        assert_eq!(faults_with(path, text), [fault], "{path}: {text}");
    }
}

#[test]
fn a_list_names_every_module_once_and_nothing_that_is_not_so() {
    let faults = |floors: &str| faults(&format!("//! # Floors\n//!\n{floors}\nmod a;\nmod b;\n"), &[]);
    assert_eq!(faults("//! 1. `a`\n"), ["lib.rs: b is 0 times in the list of floors"]);
    assert_eq!(faults("//! 1. `a` · `b`\n//! 2. `a`\n"), ["lib.rs: a is 2 times in the list of floors"]);
    assert_eq!(faults("//! 1. `a` · `b` · `c`\n"), ["lib.rs: c is on a floor, but no module"]);
    assert_eq!(faults("//! 1. `a` (`b`) · `b`\n"), ["lib.rs: a is joined to b, which it does not name"]);
}
