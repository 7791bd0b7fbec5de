//! The book and the README: links lead somewhere, commands and configurations work, tables say what the code says.
//!
//! `make reference` writes the parts that are made from the code, and the picture of the terminal.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A fault fails the test.

mod links;
mod made;
mod output;
mod page;
mod picture;
mod session;

use std::path::Path;

use libtest_mimic::{Arguments, Trial};
use page::{Block, Page, pages};
use wasmpost::config::Config;
use wasmpost_msg::Reason;
use wasmpost_tests::{Place, root};

/// The longest README.
const README_WORDS_MAX: usize = 900;
/// The languages of blocks. Those of commands and configurations are tried; others are shown, or written to files.
const LANGUAGES: &[&str] = &["sh", "console", "toml", "rust", "go", "python", "ini", "yaml", "json", "wit", "text"];
/// How many brokers there are when all are built in.
const BROKERS: usize = 6;

fn expect_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

fn is_writing() -> bool {
    std::env::var_os("WASMPOST_WRITE").is_some_and(|value| value == "1")
}

fn links_lead_somewhere() {
    let pages = pages();
    let faults: Vec<_> = pages.iter().flat_map(|page| links::faults(page, &pages)).collect();
    assert!(pages.iter().map(|page| page.links.len()).sum::<usize>() > 100, "links are where they are looked for");
    expect_none("links that lead nowhere", &faults);
}

fn every_page_is_in_the_summary() {
    expect_none("pages that docs/SUMMARY.md does not name", &links::left_out(&pages()));
}

fn the_readme_is_read_in_four_minutes() {
    let words = std::fs::read_to_string(root().join("README.md")).unwrap().split_whitespace().count();
    assert!(words <= README_WORDS_MAX, "README.md has {words} words: move what is not for everybody to docs/");
}

fn blocks_say_what_they_are() {
    let faults = pages().into_iter().flat_map(|page| {
        let fault = |block: &Block| {
            let is_known = LANGUAGES.contains(&&*block.language);
            let reason = block.ignored();
            let is_code = ["rust", "go", "python"].contains(&&*block.language);
            let fault = match reason {
                _ if !is_known => format!("language {:?}", block.language),
                Some("") => "ignore: without a reason".to_owned(),
                None if is_code && block.file().is_none() => "code that nothing builds: file=NAME".to_owned(),
                _ => return None,
            };
            Some(format!("{}:{}: {fault}", page.name, block.line))
        };
        page.blocks.iter().filter_map(fault).collect::<Vec<_>>()
    });
    expect_none("blocks of code that do not say what they are", &faults.collect::<Vec<_>>());
}

/// Configurations that no command of their page checks.
fn every_configuration_is_taken() {
    let mut tried = 0;
    for page in pages() {
        let configurations = page
            .blocks
            .iter()
            .filter(|block| block.language == "toml" && block.ignored().is_none() && !block.marks.starts_with("case"));
        for block in configurations {
            let place = Place::default();
            // Files with secrets have to be there.
            for line in block.text.lines().filter(|line| line.split(" = ").next().unwrap().ends_with("_file")) {
                place.write(line.split('"').nth(1).unwrap(), "secret");
            }
            let parsed = Config::parse(&block.text, &place.path().join("wasmpost.toml"));
            assert!(parsed.is_ok(), "{}:{}: {}", page.name, block.line, parsed.unwrap_err());
            tried += 1;
        }
    }
    assert!(tried > 10, "configurations are where they are looked for");
}

fn every_reason_is_explained() {
    let errors = std::fs::read_to_string(root().join("docs/reference/errors.md")).unwrap();
    let table = errors.split("\n## ").find(|part| part.starts_with("Reasons\n")).unwrap();
    let told: Vec<_> = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(told, Reason::ALL.iter().map(|reason| reason.as_str()).collect::<Vec<_>>());
}

/// The texts by which the book explains errors are those of the code.
fn every_error_of_the_book_is_one_of_the_code() {
    let sources = sources(&root().join("host"));
    let errors = std::fs::read_to_string(root().join("docs/reference/errors.md")).unwrap();
    let table = errors.split("\n## ").find(|part| part.starts_with("Errors of commands\n")).unwrap();
    let told = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let texts: Vec<&str> = told.filter(|text| *text != "FILE:LINE:COLUMN").collect();
    assert!(texts.len() > 8, "errors are where they are looked for");
    let pieces = texts.iter().flat_map(|text| text.split('…').map(str::trim));
    let unknown: Vec<_> = pieces.filter(|piece| !sources.contains(piece)).map(str::to_owned).collect();
    expect_none("errors that no command tells", &unknown);
}

/// All sources below a directory as one text, with strings that go on in the next line joined.
fn sources(directory: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text.push_str(&sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = std::fs::read_to_string(&path).unwrap();
            text.extend(source.split("\\\n").enumerate().map(|(number, part)| match number {
                0 => part.to_owned(),
                _ => part.trim_start().to_owned(),
            }));
        }
    }
    text
}

fn what_is_made_from_the_code_is_as_the_code_says(page: &Page) {
    let made = made::remade(&page.text);
    if is_writing() {
        return std::fs::write(root().join(&page.name), made).unwrap();
    }
    let differs = made.lines().zip(page.text.lines()).find(|(made, told)| made != told);
    assert!(made == page.text, "{}: make reference writes it anew; first difference: {differs:?}", page.name);
}

fn the_picture_shows_what_commands_print() {
    let path = root().join("docs/terminal.svg");
    let lines = picture::session();
    if is_writing() {
        return std::fs::write(path, picture::drawn(&lines)).unwrap();
    }
    let svg = std::fs::read_to_string(path).unwrap();
    expect_none("make reference draws the picture anew; it shows", &picture::outdated(&svg, &lines));
}

fn trial(name: String, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(format!("book::{name}"), move || {
        test();
        Ok(())
    })
}

fn main() {
    let mut trials = vec![
        trial("links_lead_somewhere".into(), links_lead_somewhere),
        trial("every_page_is_in_the_summary".into(), every_page_is_in_the_summary),
        trial("the_readme_is_read_in_four_minutes".into(), the_readme_is_read_in_four_minutes),
        trial("blocks_say_what_they_are".into(), blocks_say_what_they_are),
        trial("every_configuration_is_taken".into(), every_configuration_is_taken),
        trial("every_reason_is_explained".into(), every_reason_is_explained),
        trial("every_error_of_the_book_is_one_of_the_code".into(), every_error_of_the_book_is_one_of_the_code),
        trial(
            "an_ellipsis_stands_for_any_text_and_any_lines".into(),
            output::an_ellipsis_stands_for_any_text_and_any_lines,
        ),
        trial("reference::the_picture_shows_what_commands_print".into(), the_picture_shows_what_commands_print),
    ];
    let has_all_brokers = wasmpost::registry::SCHEMES.len() == BROKERS;
    for page in pages() {
        let name = page.name.clone();
        if page.text.contains(made::MADE) {
            let page = Page::parse(name.clone(), page.text.clone());
            let is_of_brokers = page.text.contains("<!-- made: brokers");
            let made = trial(format!("reference::{name} is as the code says"), move || {
                what_is_made_from_the_code_is_as_the_code_says(&page);
            });
            trials.push(made.with_ignored_flag(is_of_brokers && !has_all_brokers));
        }
        if page.blocks.iter().any(Block::is_run) {
            let is_missing = !session::missing(&page).is_empty();
            let works = trial(format!("commands_of::{name}"), move || session::run(&page));
            trials.push(works.with_ignored_flag(is_missing));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
