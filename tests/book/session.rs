//! Runs what a page says, in order and in one shell, in an empty directory.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use wasmpost_tests::{Place, guest, program, root, target};

use crate::output::fits;
use crate::page::{Block, Page};

/// How long a page may take, in seconds: one of them may compile what components in Rust are made of.
const PATIENCE: &str = "900";

/// A command of a page, with what it is said to print.
struct Step {
    line: usize,
    command: String,
    said: Option<String>,
}

/// Programs that the page needs and that are not there.
pub(crate) fn missing(page: &Page) -> Vec<String> {
    let there = |program: &str| {
        let paths = std::env::var_os("PATH").unwrap();
        std::env::split_paths(&paths).any(|directory| directory.join(program).exists())
    };
    page.blocks.iter().filter_map(Block::needs).filter(|need| !there(need)).map(str::to_owned).collect()
}

/// Runs all commands of a page; fails with the one that failed, or that printed something else than is said.
pub(crate) fn run(page: &Page) {
    let place = Place::default();
    let notes = Place::default();
    let steps = steps(page, notes.path());
    let script = notes.write("script", script(&steps, place.path(), notes.path()));
    let mut shell = Command::new("timeout");
    shell.args(["--kill-after=10", PATIENCE, "bash"]).arg(&script).current_dir(place.path());
    environment(&mut shell);
    let ran = shell.output().unwrap();
    let at: usize = std::fs::read_to_string(notes.path().join("at")).map_or(0, |at| at.trim().parse().unwrap());
    let printed = std::fs::read(notes.path().join(format!("{at}.out"))).unwrap_or_default();
    let printed = String::from_utf8_lossy(&printed);
    let told = String::from_utf8_lossy(&ran.stderr);
    let (line, command) = steps.get(at).map_or((0, ""), |step| (step.line, &step.command));
    let name = &page.name;
    let status = ran.status;
    assert!(status.success(), "{name}:{line}: {command} ended with {status} and printed:\n{printed}{told}");
    for (number, step) in steps.iter().enumerate() {
        let Some(said) = &step.said else { continue };
        let printed = std::fs::read(notes.path().join(format!("{number}.out"))).unwrap();
        let printed = String::from_utf8_lossy(&printed);
        let said: Vec<_> = said.lines().collect();
        let lines: Vec<_> = printed.lines().collect();
        assert!(fits(&said, &lines), "{}:{}: {} printed:\n{printed}", page.name, step.line, step.command);
    }
}

/// The steps of a page: its commands, and the files that it shows.
fn steps(page: &Page, notes: &Path) -> Vec<Step> {
    let mut steps = Vec::new();
    for block in page.blocks.iter().filter(|block| block.ignored().is_none()) {
        if let Some(file) = block.file() {
            let kept = notes.join(format!("file-{}", block.line));
            std::fs::write(&kept, &block.text).unwrap();
            let command =
                format!("mkdir -p \"$(dirname \"$PAGE/{file}\")\" && cp '{}' \"$PAGE/{file}\"", kept.display());
            steps.push(Step { line: block.line, command, said: None });
        } else if block.language == "sh" {
            steps.push(Step { line: block.line, command: block.text.clone(), said: None });
        } else if block.language == "console" {
            steps.extend(typed(block));
        }
    }
    steps
}

/// The commands and the output in a block that shows a terminal.
fn typed(block: &Block) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (number, line) in block.text.lines().enumerate() {
        if let Some(command) = line.strip_prefix("$ ") {
            let said = Some(String::new());
            steps.push(Step { line: block.line + 1 + number, command: command.to_owned(), said });
        } else if let Some(Step { said: Some(said), .. }) = steps.last_mut() {
            said.push_str(line);
            said.push('\n');
        }
    }
    assert!(!steps.is_empty(), "line {}: no line of a console begins with $", block.line);
    steps
}

fn script(steps: &[Step], place: &Path, notes: &Path) -> String {
    let mut script = String::from("set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n");
    writeln!(script, "export PAGE='{}'", place.display()).unwrap();
    for (number, step) in steps.iter().enumerate() {
        let notes = notes.display();
        // A terminal shows both.
        writeln!(script, "echo {number} > '{notes}/at'; exec > '{notes}/{number}.out' 2>&1").unwrap();
        writeln!(script, "{}", step.command).unwrap();
    }
    script
}

/// The programs and guests that commands find.
fn environment(shell: &mut Command) {
    let here = program().parent().unwrap().to_owned();
    let rest = std::env::var_os("PATH").unwrap();
    let paths = std::iter::once(here).chain(std::env::split_paths(&rest));
    shell.env("PATH", std::env::join_paths(paths).unwrap());
    shell.env("GUESTS", guest("noop").parent().unwrap()).env("REPOSITORY", root());
    // Components find what was compiled for others, and leave their own files where the page says.
    shell.env("XDG_CACHE_HOME", target().join("tests-cache")).env("CARGO_BUILD_BUILD_DIR", target().join("guests"));
    for name in ["WASMPOST_LOG", "CARGO_TARGET_DIR", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUST_BACKTRACE"] {
        shell.env_remove(name);
    }
}
