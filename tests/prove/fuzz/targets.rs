//! Properties of any text. Called with inputs by proptest here, and by libFuzzer in `tests/fuzz`.

use std::path::Path;

use wasmpost::config::Config;
use wasmpost_msg::Attributes;
use wasmpost_sandbox::HttpOrigin;

/// A configuration is taken or refused in words, with its place.
pub(crate) fn configuration(text: &str) {
    match Config::parse(text, Path::new("dir/wasmpost.toml")) {
        Ok(config) => {
            assert!(config.receivers.iter().all(|receiver| receiver.concurrency != Some(0) && receiver.reuse > 0));
            assert!(config.receivers.iter().all(|receiver| config.brokers.contains_key(&receiver.broker)));
        }
        Err(error) => {
            let error = error.to_string();
            assert!(error.contains("wasmpost.toml"), "{error:?} says where");
        }
    }
}

/// Attributes that are taken are written as they were read.
pub(crate) fn attributes(json: &str) {
    if let Ok(attributes) = serde_json::from_str::<Attributes>(json) {
        let again = serde_json::from_str(&serde_json::to_string(&attributes).unwrap());
        assert_eq!(again.ok(), Some(attributes), "{json}");
    }
}

/// An origin has one spelling, and is another one when URLs say so.
pub(crate) fn origins(text: &str, other: &str) {
    let Ok(origin) = text.parse::<HttpOrigin>() else { return };
    let spelled = origin.to_string();
    assert_eq!(spelled.parse::<HttpOrigin>().as_ref(), Ok(&origin), "{text:?}");
    // The spelling, read as a URL, has the same parts as the text, and no user, path or query.
    let url = url::Url::parse(&spelled).unwrap();
    assert_eq!(url.username().len() + url.query().map_or(0, str::len) + url.path().trim_matches('/').len(), 0);
    if let Ok(read) = url::Url::parse(text) {
        assert_eq!(read.origin(), url.origin(), "{text:?}: {spelled}");
    }
    // Two origins are one when a URL says so, and only then.
    if let Ok(other) = other.parse::<HttpOrigin>() {
        let one = url.origin();
        let two = url::Url::parse(&other.to_string()).unwrap().origin();
        assert_eq!(origin == other, one == two, "{text:?} and {other}");
    }
}
