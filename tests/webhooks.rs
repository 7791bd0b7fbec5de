//! The example receiver on the samples of the repository, and on real webhooks of GitHub where there is a file of them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A fault fails the test.

use std::collections::BTreeMap;
use std::path::Path;

use libtest_mimic::{Arguments, Trial};
use serde_json::Value;
use wasmpost_tests::{Place, guest, real_webhooks, root};

/// A configuration for the example.
fn place() -> Place {
    let place = Place::default();
    let component = guest("webhook-triage");
    let config = format!(
        "[[receivers]]\nqueue = \"webhooks\"\ncomponent = {component:?}\npublish = [\"github.*\"]\n\
         retry = {{ attempts = 2, backoff_first = \"10ms\" }}\nconfig = {{ retry_after_ms = \"200\" }}\n"
    );
    place.write("wasmpost.toml", config);
    place
}

fn serve(place: &Place, messages: &Path) -> Vec<Value> {
    place.run(&["publish", "webhooks", "--ndjson", messages.to_str().unwrap()]).exits(0);
    place.run(&["run", "--until-empty", "--log", "error"]).exits(0);
    place.run(&["queues", "--json"]).exits(0).json().as_array().unwrap().clone()
}

fn samples_end_as_the_readme_of_the_example_says() {
    let place = place();
    let queues = serve(&place, &root().join("guest-examples/rust/samples.ndjson"));
    let ready: BTreeMap<_, _> =
        queues.iter().map(|queue| (queue["queue"].as_str().unwrap(), &queue["ready"])).collect();
    for topic in ["github.ping", "github.issues", "github.push", "github.fork"] {
        assert_eq!(*ready[topic], 1, "{topic}");
    }
    let letters = place.run(&["dead-letters", "list", "--json"]).exits(0).json();
    let told: Vec<_> =
        letters.as_array().unwrap().iter().map(|letter| (&letter["id"], &letter["evidence"]["reason"])).collect();
    assert_eq!(told.len(), 2);
    assert!(told.contains(&(&"sample-5-malformed".into(), &"rejected".into())), "{told:?}");
    assert!(told.contains(&(&"sample-6-poison".into(), &"trap".into())), "{told:?}");
}

fn every_real_webhook_goes_to_the_topic_of_its_event(file: &Path) {
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    let text = std::fs::read_to_string(file).unwrap();
    for line in text.lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        let event = message["attributes"]["X-Github-Event"][0].as_str().unwrap();
        *expected.entry(format!("github.{event}")).or_default() += 1;
    }
    assert_eq!((expected.values().sum::<u64>(), expected.len()), (255, 57), "the file is the one that was counted");
    assert_eq!((expected["github.issues"], expected["github.pull_request"], expected["github.fork"]), (28, 27, 1));

    let place = place();
    let queues = serve(&place, file);
    let mut seen = BTreeMap::new();
    for queue in &queues {
        let name = queue["queue"].as_str().unwrap().to_owned();
        assert_eq!((&queue["delayed"], &queue["leased"], &queue["dead"]), (&0.into(), &0.into(), &0.into()), "{name}");
        match name.as_str() {
            "webhooks" => assert_eq!((&queue["ready"], &queue["acked"]), (&0.into(), &255.into())),
            _ => drop(seen.insert(name, queue["ready"].as_u64().unwrap())),
        }
    }
    assert_eq!(seen, expected);
}

fn main() {
    let samples = Trial::test("webhooks::samples_end_as_the_readme_of_the_example_says", || {
        samples_end_as_the_readme_of_the_example_says();
        Ok(())
    });
    let file = real_webhooks();
    let missing = file.is_none();
    let real = Trial::test("webhooks::every_real_webhook_goes_to_the_topic_of_its_event", move || {
        every_real_webhook_goes_to_the_topic_of_its_event(&file.ok_or("no file of webhooks")?);
        Ok(())
    });
    libtest_mimic::run(&Arguments::from_args(), vec![samples, real.with_ignored_flag(missing)]).exit();
}
