//! The house is in order: what is a row in a table is not forgotten elsewhere, and files stay small and explained.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A fault fails the test.

mod documented;
mod floors;
mod language;

use std::path::{Path, PathBuf};

use wasmpost_tests::root;

/// The longest file without its tests, and the longest function, in lines.
const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
/// The longest ARCHITECTURE.md.
const ARCHITECTURE_LINES_MAX: usize = 200;

/// Names that say nothing about what they name.
const EMPTY_NAMES: &[&str] = &["Manager", "Helper", "Util", "Common", "Impl"];

/// Words that promise without saying anything.
const EMPTY_WORDS: &[&str] =
    &["simply", "easily", "seamless", "seamlessly", "blazing", "blazingly", "leverage", "robust"];

/// The files of a kind below a directory. Those that are links are looked at where they lie.
fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    for entry in entries.filter(|entry| !entry.file_type().unwrap().is_symlink()) {
        let path = entry.path();
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
fn every_module_lies_where_the_compiler_looks_for_it() {
    let found = sources().into_iter().flat_map(|(name, text)| {
        let lines = text.lines().enumerate().filter(|(_, line)| {
            let attribute = line.trim_start();
            // Split, so that this file is not found itself.
            attribute.starts_with(concat!("#[pa", "th"))
                || attribute.starts_with("#[cfg_attr") && line.contains("path =")
        });
        lines.map(|(number, line)| format!("{name}:{}: {}", number + 1, line.trim())).collect::<Vec<_>>()
    });
    expect_none("modules with a path; ARCHITECTURE.md names the place of shared code", found.collect());
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
fn unsafe_code_is_in_three_places_and_in_one_test() {
    // Split, so that this file is not found itself.
    let word = concat!("unsafe", " {");
    let places: Vec<_> = sources().into_iter().filter(|(_, text)| text.contains(word)).map(|(name, _)| name).collect();
    let named = ["engine/zeroes.rs", "load/descriptors.rs", "load/mapped.rs"];
    let named = named.map(|name| format!("host/crates/sandbox/src/{name}"));
    let product: Vec<_> = places.iter().filter(|name| !name.starts_with("tests/")).cloned().collect();
    assert_eq!(product, named);
    let tests: Vec<_> = places.into_iter().filter(|name| name.starts_with("tests/")).collect();
    assert_eq!(tests, ["tests/confined/attempts.rs"]);
}

#[test]
fn every_limit_is_in_the_book_with_its_default() {
    let page = read("docs/reference/limits.md");
    let missing = wasmpost_sandbox::Limits::table().into_iter().filter_map(|row| {
        let line = format!("| `{}` | {} | {} |", row.name, row.default, row.doc);
        (!page.contains(&line)).then_some(line)
    });
    expect_none("limits that the book does not tell", missing.collect());
}

#[test]
fn every_broker_and_verb_is_in_the_book() {
    let brokers = read("docs/brokers/index.md");
    let verbs = read("docs/reference/verbs.md");
    for scheme in wasmpost::registry::SCHEMES {
        assert!(brokers.contains(&format!("| `{}:", scheme.name)), "{}", scheme.name);
    }
    for verb in wasmpost::cli::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
        assert!(verbs.contains(&format!("\n## {}\n", verb.get_name())), "{}", verb.get_name());
    }
}

#[test]
fn every_guest_example_is_in_the_book_and_explains_itself() {
    let languages = read("docs/guides/languages.md");
    for entry in std::fs::read_dir(root().join("guest-examples")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        // No example, but cases for all of them.
        if name.starts_with("fixtures") {
            continue;
        }
        assert!(languages.contains(&format!("[guest-examples/{name}](")), "{name} is in docs/guides/languages.md");
        let directory = root().join("guest-examples").join(&name);
        assert!(directory.join("README.md").exists(), "{name} has a README");
        assert!(directory.join("echo/README.md").exists(), "{name} has a template to begin with");
    }
}

/// Every page of the documentation, with its text.
fn documents() -> Vec<(String, String)> {
    let beside = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "ARCHITECTURE.md", "CHANGELOG.md"];
    let paths = files(&root().join("docs"), "md").into_iter().chain(beside.map(|name| root().join(name)));
    let name = |path: &Path| path.strip_prefix(root()).unwrap().display().to_string();
    let documents: Vec<_> = paths.map(|path| (name(&path), std::fs::read_to_string(&path).unwrap())).collect();
    assert!(documents.len() > 20, "the pages are where they are looked for");
    documents
}

#[test]
fn no_page_has_words_that_say_nothing() {
    let found = documents().into_iter().flat_map(|(name, text)| {
        let lines = text.lines().enumerate().filter_map(|(number, line)| {
            let lower = line.to_ascii_lowercase();
            let words: Vec<&str> = lower.split(|letter: char| !letter.is_ascii_alphabetic() && letter != '-').collect();
            let word = EMPTY_WORDS.iter().find(|word| words.contains(word))?;
            Some(format!("{name}:{}: {word}", number + 1))
        });
        lines.collect::<Vec<_>>()
    });
    expect_none("words that say nothing", found.collect());
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
fn no_source_or_page_names_a_place_on_one_machine() {
    let places = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let found = sources().into_iter().chain(documents());
    let found = found.filter(|(_, text)| places.iter().any(|place| text.contains(place)));
    expect_none("files that name a place on one machine", found.map(|(name, _)| name).collect());
}

/// The macros that log, with what stands between their parentheses, in `text`: the line, the macro, and the words.
fn logged(text: &str) -> Vec<(usize, &'static str, String)> {
    let mut found = Vec::new();
    for level in ["error", "warn", "info", "debug", "trace", "event", "info_span", "debug_span", "span"] {
        let begin = format!("tracing::{level}!(");
        for (at, _) in text.match_indices(&begin) {
            let mut depth = 1;
            let mut is_text = false;
            let mut is_escaped = false;
            let rest = &text[at + begin.len()..];
            let end = rest.char_indices().find(|(_, letter)| {
                match letter {
                    '"' if !is_escaped => is_text = !is_text,
                    '(' if !is_text => depth += 1,
                    ')' if !is_text => depth -= 1,
                    _ => {}
                }
                is_escaped = *letter == '\\' && !is_escaped;
                depth == 0
            });
            let words = rest[..end.unwrap().0].split_whitespace().collect::<Vec<_>>().join(" ");
            found.push((text[..at].lines().count(), level, words));
        }
    }
    found
}

/// The sources of the host, without tests, that log.
fn logging_sources() -> Vec<(String, usize, &'static str, String)> {
    let hosts = sources().into_iter().filter(|(name, _)| name.starts_with("host/") && !name.contains("/tests/"));
    let events = hosts.flat_map(|(name, text)| {
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned();
        logged(&code)
            .into_iter()
            .map(move |(line, level, words)| (name.clone(), line, level, words))
            .collect::<Vec<_>>()
    });
    let events: Vec<_> = events.collect();
    assert!(events.len() > 50, "events are where they are looked for");
    events
}

/// The names of the fields that an event has.
fn fields(words: &str) -> Vec<String> {
    let before_text = words.split('"').next().unwrap();
    let fields = before_text.split(',').map(|field| {
        let name = field.split('=').next().unwrap().trim().trim_start_matches(['%', '?']);
        name.rsplit('.').next().unwrap().trim_start_matches("r#").to_owned()
    });
    fields.filter(|name| !name.is_empty()).collect()
}

#[test]
fn no_event_has_a_field_that_a_line_of_the_log_has_of_its_own() {
    let taken = ["timestamp", "level", "message", "target", "span", "spans"];
    let found = logging_sources().into_iter().flat_map(|(name, line, _, words)| {
        let fields = fields(&words);
        let twice = fields.iter().enumerate().filter(|(at, field)| fields[..*at].contains(field));
        let bad: Vec<_> =
            fields.iter().filter(|field| taken.contains(&&***field)).chain(twice.map(|(_, f)| f)).collect();
        bad.into_iter().map(|field| format!("{name}:{line}: {field}")).collect::<Vec<_>>()
    });
    expect_none("fields whose names are taken", found.collect());
}

#[test]
fn texts_are_logged_as_they_are_and_escaped_once_by_the_log() {
    // `Debug` is the right text for these: numbers with a unit, and words.
    let plain = ["?cpu", "?wall", "?delay", "?pause", "?began.elapsed()", "?took"];
    let found = logging_sources().into_iter().flat_map(|(name, line, _, words)| {
        let before_text = words.split('"').next().unwrap().to_owned();
        let debugged = before_text.split([',', '=']).map(|part| part.trim().to_owned());
        let bad =
            debugged.filter(|part| part.starts_with('?') && !plain.contains(&&**part) || part.contains("escape_"));
        bad.map(|part| format!("{name}:{line}: {part}")).collect::<Vec<_>>()
    });
    expect_none("texts that are escaped before they are logged", found.collect());
}

#[test]
fn warnings_about_a_message_have_its_id() {
    // They are about several, or about one that cannot be read.
    let without = [
        "messages of a topic that no queue took from were moved",
        "deliveries could not be given back; their leases will lapse",
        "leases could not be given back in time; they will lapse",
        "faults on every message; slowed to one at a time",
        "messages came faster than they were taken; some come again",
        "stopping; messages in flight may finish",
        "dead letter cannot be read; it is left where it is",
        "something came that is no message of a stream",
        "queue file was not closed in order; leases are given back when it is opened",
        "a delivery panicked; its message will be redelivered",
    ];
    let found = logging_sources().into_iter().filter_map(|(name, line, level, words)| {
        let text = words.split('"').nth(1).unwrap_or_default().to_owned();
        let is_about = ["message", "lease", "deliver", "dead", "settled", "publishing denied", "HTTP request denied"]
            .iter()
            .any(|word| text.contains(word));
        let tells = ["error", "warn"].contains(&level) && is_about && !without.contains(&&*text);
        (tells && !fields(&words).iter().any(|field| field == "id")).then(|| format!("{name}:{line}: {text}"))
    });
    expect_none("warnings about a message without its id", found.collect());
}

#[test]
fn errors_are_logged_with_their_causes() {
    let found = logging_sources().into_iter().filter_map(|(name, line, _, words)| {
        // Those who write it out know that the error tells its causes itself.
        let is_short = words.contains("%error") && !words.contains("error = %error");
        is_short.then(|| format!("{name}:{line}: write error = %wasmpost_msg::chain(&error)"))
    });
    expect_none("log lines that lose the cause of an error", found.collect());
}

#[test]
fn no_error_tells_its_cause_both_itself_and_as_its_source() {
    let found = sources().into_iter().filter(|(name, _)| name.starts_with("host/")).flat_map(|(name, text)| {
        let texts = text.split("#[error(").skip(1).filter_map(|rest| {
            let (shown, variant) = rest.split_once(")]\n")?;
            let variant = variant.lines().find(|line| !line.trim_start().starts_with("//"))?;
            let is_source = variant.contains("#[source]") || variant.contains("#[from]");
            (shown.contains("{source}") || is_source && shown.contains("{0}")).then(|| format!("{name}: {shown}"))
        });
        texts.collect::<Vec<_>>()
    });
    expect_none("errors that would be told twice", found.collect());
}
