//! The parts of pages that are made from the code: between `<!-- made: NAME -->` and `<!-- end -->`.

use std::fmt::Write as _;

use serde_json::Value;
use wasmpost::config::Config;
use wasmpost::registry::SCHEMES;
use wasmpost_tests::Place;

/// How such a part begins, on a line of its own, and how it ends.
pub(crate) const MADE: &str = "\n<!-- made: ";
const END: &str = "<!-- end -->";

/// The text of a page with every part made anew.
pub(crate) fn remade(text: &str) -> String {
    let mut made = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once(MADE) {
        let (name, old) = behind.split_once(" -->\n").unwrap();
        let (_, after) = old.split_once(END).unwrap();
        write!(made, "{before}{MADE}{name} -->\n\n{}\n{END}", part(name)).unwrap();
        rest = after;
    }
    made + rest
}

fn part(name: &str) -> String {
    match name {
        "limits" => limits(),
        "brokers" => brokers(),
        "verbs" => verbs(),
        "configuration" => configuration(),
        other => panic!("no part of a page is called {other:?}"),
    }
}

fn limits() -> String {
    let mut table = String::from("| limit | default | bounds |\n|---|---|---|\n");
    for row in wasmpost_sandbox::Limits::table() {
        writeln!(table, "| `{}` | {} | {} |", row.name, row.default, row.doc).unwrap();
    }
    table
}

fn brokers() -> String {
    let mut table = String::from("| URL | broker | a server | keeps quotas of tenants |\n|---|---|---|---|\n");
    let word = |is: bool| if is { "yes" } else { "no" };
    for scheme in SCHEMES {
        let server = word(scheme.is_remote);
        let quotas = word(scheme.keeps_quotas);
        writeln!(table, "| `{}` | {} | {server} | {quotas} |", scheme.example, scheme.what).unwrap();
    }
    table
}

/// Every verb with the help that it prints.
fn verbs() -> String {
    let place = Place::default();
    let mut table = String::from("| verb | |\n|---|---|\n");
    let mut texts = String::new();
    let command = wasmpost::cli::command();
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let name = verb.get_name();
        let about = verb.get_about().unwrap();
        writeln!(table, "| [`{name}`](#{name}) | {about} |").unwrap();
        let below = verb.get_subcommands().filter(|verb| !verb.is_hide_set()).map(|verb| vec![name, verb.get_name()]);
        for words in [vec![name]].into_iter().chain(below) {
            let help = place.run(&[&words[..], &["--help"]].concat()).exits(0).stdout();
            let help = help.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
            let level = if words.len() == 1 { "##" } else { "###" };
            write!(texts, "\n{level} {}\n\n```text\n{}\n```\n", words.join(" "), help.trim_end()).unwrap();
        }
    }
    table + &texts
}

fn configuration() -> String {
    let schema = Config::schema().to_value();
    let mut text = String::new();
    for (heading, definition) in [
        ("## `[brokers.NAME]`", "RawBrokerTable"),
        ("## `[[receivers]]`", "RawReceiver"),
        ("### `receivers.retry`", "RawRetry"),
        ("## `[[ingress]]`", "RawIngress"),
        ("## `[tenants.NAME]`", "RawTenant"),
        ("## `[host]`", "RawHost"),
        ("### `host.load`", "LoadLimits"),
        ("## `[engine]`", "RawEngine"),
        ("## `[admin]`", "RawAdmin"),
        ("## `[admin.tokens.NAME]`", "RawAdminToken"),
        ("## `[dev]`", "RawDev"),
    ] {
        let table = &schema["$defs"][definition];
        write!(text, "{heading}\n\n{}\n\n| key | is | default | meaning |\n|---|---|---|---|\n", line(table)).unwrap();
        for (key, value) in table["properties"].as_object().unwrap() {
            let kind = kind(value, &schema);
            let meaning = line(value);
            writeln!(text, "| `{key}` | {kind} | {} | {meaning} |", default(key, value, table, &schema)).unwrap();
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// The description of something, in one line.
fn line(value: &Value) -> String {
    value["description"]
        .as_str()
        .unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}

/// The definition that a value refers to, with its name.
fn referred<'a>(value: &'a Value, schema: &'a Value) -> Option<(&'a str, &'a Value)> {
    let name = value["$ref"].as_str()?.rsplit('/').next()?;
    Some((name, &schema["$defs"][name]))
}

/// The kind of value that a key takes, in a word or two.
fn kind(value: &Value, schema: &Value) -> String {
    if let Some((name, definition)) = referred(value, schema) {
        return match name {
            "Limits" | "LimitCaps" => "[limits](limits.md)".into(),
            "Size" => "size".into(),
            "Span" => "time".into(),
            _ => kind(definition, schema),
        };
    }
    if let Some(any) = value["anyOf"].as_array() {
        return kind(&any[0], schema);
    }
    if let Some(words) = value["enum"].as_array() {
        return words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or ");
    }
    let kind_of = value["type"].as_array().map_or(&value["type"], |kinds| &kinds[0]);
    match kind_of.as_str().unwrap_or_default() {
        "array" => "list of texts".into(),
        "boolean" => "`true` or `false`".into(),
        "integer" => value["maximum"].as_u64().map_or("number".into(), |max| format!("number up to {max}")),
        "number" => "number".into(),
        "object" => "table".into(),
        _ => "text".into(),
    }
}

/// The value that applies if the key is left out.
fn default(key: &str, value: &Value, table: &Value, schema: &Value) -> String {
    let is_required = table["required"].as_array().is_some_and(|names| names.iter().any(|name| name == key));
    let refers_to_table = referred(value, schema).is_some_and(|(_, definition)| definition["type"] == "object");
    match &value["default"] {
        _ if is_required => "has to be given".into(),
        _ if refers_to_table => String::new(),
        Value::Null | Value::Object(_) => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
