//! The picture of a terminal that the README shows: what commands printed, as an SVG.

use std::fmt::Write as _;
use std::process::Command;

use wasmpost_tests::{Place, guest, program, root, target};

/// The commands that are typed.
const TYPED: &[&str] = &[
    "wasmpost publish webhooks --ndjson samples.ndjson",
    "wasmpost run --until-empty --log error",
    "wasmpost queues",
    "wasmpost dead-letters list",
    "wasmpost dead-letters show sample-6-poison",
];
const CONFIGURATION: &str = "[[receivers]]\nqueue = \"webhooks\"\ncomponent = \"webhook-triage.wasm\"\n\
    publish = [\"github.*\"]\nretry = { attempts = 3, backoff_first = \"500ms\" }\n";

/// Columns and lines, in units of the picture.
const COLUMNS: usize = 118;
const COLUMN: f32 = 7.2;
const LINE: usize = 17;
const MARGIN: usize = 14;

/// The lines of a session: each command, and what it printed.
pub(crate) fn session() -> Vec<String> {
    let place = Place::default();
    std::fs::copy(guest("webhook-triage"), place.path().join("webhook-triage.wasm")).unwrap();
    let samples = root().join("guest-examples/rust/samples.ndjson");
    std::fs::copy(samples, place.path().join("samples.ndjson")).unwrap();
    place.write("wasmpost.toml", CONFIGURATION);
    let mut lines = Vec::new();
    for typed in TYPED {
        let mut command = Command::new(program());
        command.args(typed.split(' ').skip(1)).current_dir(place.path()).env_remove("WASMPOST_LOG");
        command.env("XDG_CACHE_HOME", target().join("tests-cache"));
        if typed.contains(" run ") {
            command.args(["--log-format", "human"]);
        }
        let ran = command.output().unwrap();
        let printed = [ran.stderr, ran.stdout].concat();
        assert!(ran.status.success(), "{typed}: {}", String::from_utf8_lossy(&printed));
        lines.push(format!("$ {typed}"));
        lines.extend(String::from_utf8(printed).unwrap().lines().map(|line| line.trim_end().to_owned()));
    }
    lines
}

/// The picture of lines.
pub(crate) fn drawn(lines: &[String]) -> String {
    let rows: Vec<String> = lines.iter().flat_map(|line| wrapped(line)).collect();
    let width = (COLUMNS as f32 * COLUMN) as usize + 2 * MARGIN;
    let height = rows.len() * LINE + 2 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\" aria-label=\"a terminal\">\n<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#1d2229\"/>\n\
         <g font-family=\"ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" font-size=\"12\" \
         xml:space=\"preserve\" style=\"white-space: pre\">\n"
    );
    for (number, row) in rows.iter().enumerate() {
        let colour = if row.starts_with("$ ") { "#8fd18a" } else { "#d5dae1" };
        let row = row.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let below = MARGIN + LINE * number + 12;
        writeln!(svg, "<text x=\"{MARGIN}\" y=\"{below}\" fill=\"{colour}\">{row}</text>").unwrap();
    }
    svg + "</g>\n</svg>\n"
}

/// A line as a terminal shows it that is too narrow.
fn wrapped(line: &str) -> Vec<String> {
    let letters: Vec<char> = line.chars().collect();
    if letters.is_empty() {
        return vec![String::new()];
    }
    letters.chunks(COLUMNS).map(|row| row.iter().collect()).collect()
}

/// Lines of the picture that commands do not print any more: those of the same words, whatever figures they tell.
pub(crate) fn outdated(svg: &str, lines: &[String]) -> Vec<String> {
    let rows = svg.lines().filter_map(|row| row.strip_prefix("<text ")?.split_once('>')?.1.strip_suffix("</text>"));
    let shown = rows.map(|row| row.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"));
    let shown: Vec<String> = shown.collect();
    // Where a line is wrapped depends on its figures.
    let is_rest = |at: usize| at.checked_sub(1).is_some_and(|before| shown[before].chars().count() == COLUMNS);
    let is_steady = |row: &str| !row.contains(|letter: char| letter.is_ascii_digit());
    let steady = shown.iter().enumerate().filter(|(at, row)| is_steady(row) && !is_rest(*at)).map(|(_, row)| row);
    let mut outdated: Vec<_> = steady.filter(|row| !lines.contains(row)).cloned().collect();
    let commands = TYPED.iter().map(|typed| format!("$ {typed}")).filter(|typed| !svg.contains(&**typed));
    outdated.extend(commands);
    outdated
}
