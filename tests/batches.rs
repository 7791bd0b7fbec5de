//! Batches from outside: a component that gets several messages in one call, on the queue in memory, on the embedded one,
//! and as it is configured.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

use std::sync::Arc;

use wasmpost_delivery::memory::{MemoryBroker, MemoryOptions};
use wasmpost_delivery::{
    BatchOptions, Broker, DeadLetterFilter, DeadLetters, Queue, QueueServer, QueueServerOptions, QueueSpec, RetryPolicy,
};
use wasmpost_msg::{Attributes, Publication, Reason, Server};
use wasmpost_sandbox::ReceiverOptions;
use wasmpost_tests::{Place, guest, stats};

/// One receiver of batches, with more settings.
fn config(place: &Place, component: &str, settings: &str) {
    let component = guest(component);
    let text = format!(
        "[[receivers]]\nqueue = \"work\"\ncomponent = {component:?}\npublish = [\"out\"]\nretry = {{ attempts = 1 }}\n\
         {settings}\n[[receivers]]\nqueue = \"out\"\ncomponent = {:?}\n",
        guest("noop")
    );
    place.write("wasmpost.toml", text);
}

/// Messages, one of which asks for something.
fn lines(count: usize, place: usize, wish: &str) -> String {
    let line = |number: usize| {
        let wish = if number == place { wish } else { "" };
        format!("{{\"attributes\":{{\"Do\":[\"{wish}\"]}},\"body\":\"{number}\"}}\n")
    };
    (0..count).map(line).collect()
}

#[test]
fn a_poison_message_among_64_in_the_embedded_queue_is_found_and_the_others_arrive() {
    // An endless loop has the time of all messages in its call, and shares it with a busy machine.
    for (wish, count, reason) in [("trap", 64, "trap"), ("loop", 8, "cpu-limit")] {
        let place = Place::default();
        config(&place, "batching", "batch = 64\nbatch_wait = \"500ms\"\nlimits = { cpu = \"400ms\" }");
        place.run(&["check"]).exits(0);
        place.run_with(&["publish", "work", "--ndjson", "-"], &lines(count, 5, wish)).exits(0);
        let log = place.run(&["run", "--until-empty"]).exits(0).stderr();
        let work = stats(&place, "work");
        assert_eq!((&work["acked"], &work["dead"]), (&(count - 1).into(), &1.into()), "{log}");
        assert_eq!(stats(&place, "out")["acked"], count - 1);
        assert!(log.contains("batch failed; handed over again by halves"), "{log}");
        assert!(log.contains(&format!("\"messages\":{count}")), "{log}");
        let dead = place.run(&["dead-letters", "list", "--json"]).exits(0).stdout();
        assert!(dead.contains(reason), "{dead}");
    }
}

#[test]
fn a_host_that_ends_in_a_batch_has_its_messages_counted_and_handed_over_again() {
    let place = Place::default();
    config(&place, "batching", "batch = 8\nbatch_wait = \"1s\"\nlimits = { cpu = \"5m\", wall = \"10m\" }");
    place.run_with(&["publish", "work", "--ndjson", "-"], &lines(8, 3, "loop")).exits(0);
    let mut host = place.start(&["run"]);
    // The component says how many messages it got.
    host.wait_for("8");
    host.signal("KILL");
    host.end();
    config(&place, "batching", "batch = 8\nlimits = { cpu = \"400ms\" }");
    place.run(&["run", "--until-empty"]).exits(0);
    let work = stats(&place, "work");
    assert_eq!((&work["acked"], &work["dead"]), (&7.into(), &1.into()));
}

#[test]
fn a_component_that_takes_single_messages_has_no_settings_of_batches() {
    for setting in ["batch = 8", "batch_wait = \"1s\"", "batch_bytes = \"1MiB\""] {
        let place = Place::default();
        config(&place, "noop", setting);
        let name = setting.split(' ').next().unwrap();
        let told = format!("{name} needs wasmpost:messaging/batch-plugin");
        for command in ["check", "run"] {
            place.run(&[command]).fails(2, &["takes one message in a call", &told]);
        }
    }
}

#[test]
fn settings_of_batches_have_bounds() {
    for (settings, told) in [
        ("batch = 257", "a call has 256 messages at most"),
        ("batch = 0", "zero"),
        ("batch = 64\nconcurrency = 63", "raise concurrency"),
        ("batch_wait = \"61s\"", "at most"),
        ("batch_bytes = \"0B\"", "between 1B and 64MiB"),
        ("batch_bytes = \"65MiB\"", "between 1B and 64MiB"),
    ] {
        let place = Place::default();
        config(&place, "batching", settings);
        place.run(&["check"]).fails(2, &["wasmpost.toml:6:", told]);
    }
}

#[test]
fn invoke_hands_several_messages_over_in_one_call_and_tells_what_became_of_each() {
    let place = Place::default();
    let component = guest("batching");
    let invoke = |component: &std::path::Path, lines: &str| {
        let arguments = ["invoke", component.to_str().unwrap(), "--publish", "out", "--json", "--ndjson", "-"];
        place.run_with(&arguments, lines)
    };
    let reports =
        |ran: &str| -> Vec<serde_json::Value> { ran.lines().map(|line| serde_json::from_str(line).unwrap()).collect() };
    let told = reports(&invoke(&component, &lines(3, 1, "reject")).exits(1).stdout());
    let verdicts: Vec<_> = told.iter().map(|report| (report["id"].clone(), report["verdict"].clone())).collect();
    assert_eq!(
        verdicts,
        ["1", "2", "3"].map(|number| (
            format!("invoked-{number}").into(),
            match number {
                "2" => "reject".into(),
                _ => "ack".into(),
            }
        ))
    );
    assert_eq!(told[2]["published"][0]["attributes"]["Size"], serde_json::json!(["3"]));
    let told = reports(&invoke(&component, &lines(3, 1, "trap")).exits(1).stdout());
    assert!(told.iter().all(|report| report["reason"] == "trap"), "{told:?}");
    // One after the other, where the component takes single messages.
    assert_eq!(reports(&invoke(&guest("noop"), &lines(3, 1, "")).exits(0).stdout()).len(), 3);
    invoke(&component, "").fails(2, &["0 messages; a call has 1 to 256"]);
    invoke(&component, "{\"body\":1}").fails(2, &["line 1", "invalid type"]);
}

#[test]
fn a_case_names_the_messages_that_come_beside_its_own() {
    let place = Place::default();
    std::fs::create_dir(place.path().join("tests")).unwrap();
    place.write("tests/wasmpost-test.toml", "publish = [\"out\"]\n");
    place.write(
        "tests/beside.toml",
        "id = \"a\"\n[[beside]]\nattributes = { Do = \"reject\" }\n[[beside]]\nbody = \"b\"\n[expect]\nverdict = \"ok\"\n\
         [[expect.published]]\ntopic = \"out\"\nattributes = { Source = \"a\", Size = \"3\", Attempt = \"1\" }\n",
    );
    place.write(
        "tests/trapped.toml",
        "[[beside]]\nattributes = { Do = \"shorten\" }\n[expect]\nverdict = \"result-count\"\n",
    );
    let component = guest("batching").display().to_string();
    let ran = place.run(&["test", "tests", "--component", &component]).exits(0).stdout();
    assert!(ran.contains("2 cases: 2 passed, 0 failed"), "{ran}");
    let component = guest("noop").display().to_string();
    place
        .run(&["test", "tests", "--component", &component])
        .fails(2, &["beside needs wasmpost:messaging/batch-plugin"]);
}

#[tokio::test]
async fn a_poison_message_among_64_in_the_queue_in_memory_is_found_and_the_others_arrive() {
    let broker = MemoryBroker::new(MemoryOptions::default());
    let queue = broker.queue(QueueSpec::new("work")).await.unwrap();
    let message = |number: usize| {
        let wish = if number == 17 { "trap" } else { "" };
        Publication::new("work", Attributes::from_iter([("Do", wish)]), number.to_string())
    };
    broker.publish((0..64).map(message).collect()).await.unwrap();
    let mut options = ReceiverOptions { reuse: 1000, ..ReceiverOptions::default() };
    options.grants.publish.push("out".parse().unwrap());
    let receiver = wasmpost_tests_host::outcome::receiver(&std::fs::read(guest("batching")).unwrap(), options);
    let options = QueueServerOptions {
        concurrency: 128,
        batch: Some(BatchOptions::default()),
        retry: RetryPolicy { attempts_max: 1, ..RetryPolicy::default() },
        ..QueueServerOptions::default()
    };
    let server = Arc::new(QueueServer::new(Arc::clone(&queue), options));
    let serving = Arc::clone(&server);
    let serving = tokio::spawn(async move { serving.serve(Arc::new(receiver)).await });
    queue.drained().await.unwrap();
    server.shutdown(std::time::Duration::from_secs(5)).await.unwrap();
    serving.await.unwrap().unwrap();
    let stats = broker.stats().await.unwrap();
    let of = |name: &str| stats.iter().find(|stats| stats.queue == name).cloned().unwrap_or_default();
    assert_eq!((of("work").acked, of("work").dead), (63, 1));
    let dead = broker.show(&DeadLetterFilter::default(), 0, 10).await.unwrap();
    assert_eq!((dead[0].evidence.reason, dead[0].attempts.len(), &dead[0].body[..]), (Reason::Trap, 1, &b"17"[..]));
    let out: Arc<dyn Queue> = broker.queue(QueueSpec::new("out")).await.unwrap();
    assert_eq!(out.pull(100).await.unwrap().len(), 63);
}
