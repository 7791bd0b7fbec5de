//! The examples of deployments: the configurations in them would serve.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A fault fails the test.

use wasmpost_tests::{Place, guest, root};

/// The text of a YAML block that begins behind a line, without its indentation.
fn block(yaml: &str, before: &str) -> String {
    let mut lines = yaml.lines().skip_while(|line| line.trim() != before).skip(1).peekable();
    let first = lines.peek().unwrap();
    let indentation = first.len() - first.trim_start().len();
    let inside = |line: &&str| line.trim().is_empty() || line.len() - line.trim_start().len() >= indentation;
    lines.take_while(inside).map(|line| line.get(indentation..).unwrap_or_default().to_owned() + "\n").collect()
}

#[test]
fn every_configuration_in_an_example_of_a_deployment_would_serve() {
    for (file, before) in [("compose.yaml", "content: |"), ("kubernetes.yaml", "wasmpost.toml: |")] {
        let yaml = std::fs::read_to_string(root().join("docs/deploy").join(file)).unwrap();
        let config = block(&yaml, before);
        assert!(config.contains("/components/receiver.wasm"), "{file}: {config}");
        let place = Place::default();
        place.write("wasmpost.toml", config.replace("/components/receiver.wasm", guest("noop").to_str().unwrap()));
        let mut check = place.command(&["check"]);
        check.envs([("NATS_PASSWORD", "secret"), ("BROKER_PASSWORD", "secret")]);
        let checked = check.output().unwrap();
        assert!(checked.status.success(), "{file}: {}", String::from_utf8_lossy(&checked.stderr));
    }
}
