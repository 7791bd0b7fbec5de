//! Configurations, attributes, lines of messages, origins.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use wasmpost::config::Config;
use wasmpost_msg::{Attributes, attribute_fault, canonical_name};
use wasmpost_sandbox::HttpOrigin;
use wasmpost_tests::Place;

use super::fuzz;
use super::mutation::changed_text;

const CONFIGURATIONS: &[&str] = &[
    "[[receivers]]\nqueue = \"work\"\ncomponent = \"a.wasm\"\npublish = [\"out\", \"github.*\"]\nconcurrency = 8\n\
     http = [\"https://api.example.com\", \"http://127.0.0.1:8080\"]\nretry = { attempts = 3, backoff_first = \"10ms\" }\n\
     limits = { cpu = \"1s\", memory = \"64MiB\" }\nconfig = { spins = \"3\" }\nworld = \"wasi:cli/run\"\noutput = \"o\"\n\
     reuse = 10\nconcurrent = 1\nlease = \"30s\"\ntopics = [\"more\"]\n",
    "[brokers]\ndefault = \"sqlite:work.db?durability=normal\"\nother = { url = \"memory:\" }\n[host]\nid = \"a\"\n\
     grace = \"5s\"\n[engine]\ncomponent_model_async = true\n[tenants.acme]\nconcurrency = 3\nmemory = \"1GiB\"\n\
     [[receivers]]\nname = \"b\"\nqueue = \"q\"\ntenant = \"acme\"\ncomponent = \"../b.wasm\"\npublish_broker = \"other\"\n",
];
const CONFIGURATION_WORDS: &[&str] = &[
    "[[receivers]]\n",
    "[tenants.x]\n",
    "[engine]\n",
    "= ",
    "-1",
    "18446744073709551616",
    "\"\"",
    "\"1e400s\"",
    "\"9e18GiB\"",
    "nan",
    "inf",
    "{}",
    "[]",
    "@a/b",
    "*",
    "\u{1f426}",
    "\"sqlite:\"",
    "\"nats://\"",
    "\n",
    "'''",
    "1979-05-27",
];

#[test]
fn a_configuration_is_taken_or_refused_in_words() {
    let path = Path::new("dir/wasmpost.toml");
    fuzz("configuration", changed_text(CONFIGURATIONS, CONFIGURATION_WORDS, 6), |text| {
        match Config::parse(&text, path) {
            Ok(config) => {
                assert!(config.receivers.iter().all(|receiver| receiver.concurrency > 0 && receiver.reuse > 0));
                assert!(config.receivers.iter().all(|receiver| config.brokers.contains_key(&receiver.broker)));
            }
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains("wasmpost.toml"), "{error:?} says where");
            }
        }
    });
}

#[test]
fn attributes_that_are_taken_stay_what_they_are() {
    let name = prop_oneof!["[a-zA-Z0-9-]{1,20}", "\\PC{0,12}", any::<String>()];
    let pairs = vec((name, any::<String>()), 0..6);
    fuzz("attributes", pairs, |pairs| {
        let mut attributes = Attributes::new();
        for (name, value) in &pairs {
            assert_eq!(canonical_name(&canonical_name(name)), canonical_name(name));
            if attribute_fault(name, value).is_none() {
                attributes.append(name, value);
                assert_eq!(attributes.values(&name.to_ascii_uppercase()).last(), Some(value));
            }
        }
        let text = serde_json::to_string(&attributes).unwrap();
        let again: Attributes = serde_json::from_str(&text).unwrap();
        assert_eq!(again, attributes, "{text}");
        assert!(again.iter_spelled().eq(attributes.iter_spelled()), "{text}");
    });
    let samples = ["{\"A\":[\"b\",\"\"],\"Content-Type\":[\"\u{e9}\"]}"];
    fuzz("attributes as JSON", changed_text(&samples, &["[", "{}", "null", "\"\\ud800\"", ","], 4), |text| {
        if let Ok(attributes) = serde_json::from_str::<Attributes>(&text) {
            let again = serde_json::from_str(&serde_json::to_string(&attributes).unwrap());
            assert_eq!(again.ok(), Some(attributes), "{text}");
        }
    });
}

#[test]
fn lines_are_messages_or_told_as_none() {
    let samples = [
        "{\"attributes\":{\"k\":[\"v\",\"w\"]},\"body\":\"text\",\"id\":\"i\",\"key\":\"k\",\"delay\":\"2s\"}",
        "{\"body_base64\":\"AP8=\"}",
    ];
    let words =
        ["{", "}", "\"body\":", "null", "\"\\ud800\"", "1e999", "\"delay\":\"9999999999h\"", "\u{0}", "\r", "\n"];
    // A process takes all of them, since each costs more than many lines.
    fuzz("lines of messages", vec(changed_text(&samples, &words, 4), 1..400), |lines| {
        let text = lines.join("\n") + "\n{\"id\":\"the last\",\"body\":\"\"}\n";
        let place = Place::default();
        let ran = place.run_with(&["publish", "work", "--ndjson", "-", "--skip-invalid"], &text);
        assert!(matches!(ran.0.status.code(), Some(0 | 1)), "{:?}: {}", ran.0.status, ran.stderr());
        assert!(!ran.stderr().contains("panicked"), "{}", ran.stderr());
        let stderr = ran.stderr();
        let told = stderr.lines().find_map(|line| line.strip_prefix("published ")).unwrap();
        let told: usize =
            told.split(", ").map(|count| count.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum();
        // A line can have become several, or an empty one, which counts as none.
        let expected = text.split('\n').filter(|line| !line.trim_ascii_whitespace().is_empty()).count();
        assert_eq!(told, expected, "{text:?}");
    });
}

trait Trimmed {
    fn trim_ascii_whitespace(&self) -> &[u8];
}

impl Trimmed for str {
    fn trim_ascii_whitespace(&self) -> &[u8] {
        self.as_bytes().trim_ascii()
    }
}

#[test]
fn an_origin_has_one_spelling_and_grants_nothing_but_itself() {
    let samples = [
        "https://api.example.com:8443",
        "http://127.0.0.1",
        "https://[2001:db8::1]:80",
        "HTTP://A-b_c.D",
        "http://0x7f.1",
    ];
    let words =
        ["[", "]", "::ffff:", "%", "@", ":0", ":65536", "/", "\\", "0x", "0177", ".", "\u{ff0e}", "*", " ", "\t"];
    fuzz("origins", (changed_text(&samples, &words, 4), changed_text(&samples, &words, 2)), |(text, other)| {
        let Ok(origin) = text.parse::<HttpOrigin>() else { return };
        let spelled = origin.to_string();
        assert_eq!(spelled.parse::<HttpOrigin>().as_ref(), Ok(&origin), "{text:?}");
        // Whoever reads the spelling as a URL finds what he finds in the text, and no user, path or query.
        let url = url::Url::parse(&spelled).unwrap();
        assert_eq!(url.username().len() + url.query().map_or(0, str::len) + url.path().trim_matches('/').len(), 0);
        if let Ok(read) = url::Url::parse(&text) {
            assert_eq!(read.origin(), url.origin(), "{text:?}: {spelled}");
        }
        // Two origins are one when a URL says so, and only then.
        if let Ok(other) = other.parse::<HttpOrigin>() {
            let (one, two) = (url.origin(), url::Url::parse(&other.to_string()).unwrap().origin());
            assert_eq!(origin == other, one == two, "{text:?} and {other}");
        }
    });
}
