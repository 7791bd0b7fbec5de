//! Tenants of one host, from outside: what is theirs, what they used, and components that change under them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A fault fails the test.

use std::process::Command;

use serde_json::Value;
use wasmpost_tests::{Place, guest, stats, wait_until, wait_until_acked};

/// A configuration of two tenants, whose receivers have queues of the same name.
fn config(place: &Place, acme: &str, beta: &str) {
    let component = |name: &str| guest(name).display().to_string();
    let text = format!(
        r#"
        [tenants.acme]
        messages = 20

        [tenants.beta]
        publish = ["@acme/orders"]

        [[receivers]]
        queue = "orders"
        tenant = "acme"
        component = "{}"
        publish = ["*"]

        [[receivers]]
        queue = "orders"
        tenant = "beta"
        component = "{}"
        publish = ["@acme/orders"]
        "#,
        component(acme),
        component(beta),
    );
    place.write("wasmpost.toml", text);
}

fn publish(place: &Place, topic: &str, count: usize) {
    let lines: String = (0..count).map(|number| format!("{{\"body\":\"{number}\"}}\n")).collect();
    place.run_with(&["publish", topic, "--ndjson", "-"], &lines).exits(0);
}

fn tenant(all: &Value, name: &str) -> Value {
    all.as_array().unwrap().iter().find(|tenant| tenant["tenant"] == name).cloned().unwrap_or_default()
}

#[test]
fn the_usage_of_each_tenant_is_told_while_the_host_runs() {
    let place = Place::default();
    config(&place, "noop", "noop");
    let host = place.start(&["run"]);
    publish(&place, "@acme/orders", 7);
    publish(&place, "@beta/orders", 3);
    wait_until_acked(&place, "@acme/orders", 7);
    wait_until_acked(&place, "@beta/orders", 3);
    let all = place.run(&["tenants", "--json"]).exits(0).json();
    let acme = tenant(&all, "acme");
    let beta = tenant(&all, "beta");
    assert_eq!((&acme["deliveries"], &acme["acked"], &acme["failed"]), (&7.into(), &7.into(), &0.into()));
    assert_eq!((&beta["deliveries"], &beta["receivers"], &beta["in_flight"]), (&3.into(), &1.into(), &0.into()));
    assert!(acme["cpu_us"].as_u64() > Some(0) && acme["memory_peak_bytes"].as_u64() > Some(0), "{acme}");
    let table = place.run(&["tenants"]).exits(0).stdout();
    assert!(table.starts_with("TENANT") && table.contains("\nacme ") && table.contains("\nbeta "), "{table}");
    host.signal("TERM");
    assert_eq!(host.end().0, Some(0));
    place.run(&["tenants"]).fails(1, &["no host runs", "wasmpost.db"]);
}

#[test]
fn topics_that_no_queue_takes_from_are_told_with_their_bound() {
    let place = Place::default();
    config(&place, "noop", "noop");
    let text = std::fs::read_to_string(place.path().join("wasmpost.toml")).unwrap();
    place.write("wasmpost.toml", text.replace("messages = 20", "messages = 20\ntopics_max = 3"));
    let host = place.start(&["run"]);
    ["@acme/a", "@acme/b", "@acme/orders", "mine"].iter().for_each(|topic| publish(&place, topic, 1));
    let all = place.run(&["tenants", "--json"]).exits(0).json();
    let topics = |name: &str| (tenant(&all, name)["topics"].as_u64(), tenant(&all, name)["topics_max"].as_u64());
    assert_eq!((topics("acme"), topics("beta")), ((Some(2), Some(3)), (Some(0), Some(1000))));
    let table = place.run(&["tenants"]).exits(0).stdout();
    assert!(table.contains("TOPICS") && table.contains(" 2 of 3 ") && table.contains(" 0 of 1000 "), "{table}");
    host.signal("TERM");
    assert_eq!(host.end().0, Some(0));
}

#[test]
fn a_tenant_with_as_many_messages_as_it_may_have_is_refused_more_by_name() {
    let place = Place::default();
    config(&place, "looping", "noop");
    let _host = place.start(&["run"]);
    publish(&place, "@acme/orders", 20);
    let ran = place.run_with(&["publish", "@acme/orders", "-"], "one more");
    ran.fails(1, &["acme", "20"]);
    publish(&place, "@beta/orders", 30);
    wait_until_acked(&place, "@beta/orders", 30);
}

#[test]
fn other_components_are_reloaded_while_one_cannot_be_read() {
    let place = Place::default();
    let component = |name: &str, guest_name: &str| place.write(name, std::fs::read(guest(guest_name)).unwrap());
    let receiver = |tenant: &str| {
        format!(
            "[tenants.{tenant}]\n[[receivers]]\ntenant = \"{tenant}\"\nqueue = \"orders\"\ncomponent = \"{tenant}.wasm\"\n"
        )
    };
    let first = component("a.wasm", "noop");
    let second = component("b.wasm", "trapping");
    place.write("wasmpost.toml", receiver("a") + &receiver("b"));
    let host = place.start(&["run"]);
    // One becomes a pipe that nobody writes to, the other one is replaced.
    std::fs::remove_file(&first).unwrap();
    assert!(Command::new("mkfifo").arg(&first).status().unwrap().success());
    std::fs::copy(guest("noop"), &second).unwrap();
    let reloaded = place.run(&["reload", "--json"]).fails(1, &["refused 1 component"]).json();
    assert_eq!((&reloaded[0]["outcome"], &reloaded[1]["outcome"]), (&"refused".into(), &"replaced".into()));
    std::fs::remove_file(&first).unwrap();
    component("a.wasm", "counter");
    let reloaded = place.run(&["reload", "--json"]).exits(0).json();
    assert_eq!((&reloaded[0]["outcome"], &reloaded[1]["outcome"]), (&"replaced".into(), &"unchanged".into()));
    publish(&place, "@b/orders", 1);
    wait_until_acked(&place, "@b/orders", 1);
    host.signal("TERM");
    assert_eq!(host.end().0, Some(0));
}

#[test]
fn a_changed_component_takes_over_and_a_broken_one_does_not() {
    let place = Place::default();
    let file = place.write("orders.wasm", std::fs::read(guest("trapping")).unwrap());
    place.write("wasmpost.toml", "[[receivers]]\nqueue = \"orders\"\ncomponent = \"orders.wasm\"\n");
    let mut host = place.start(&["run"]);
    publish(&place, "orders", 1);
    host.wait_for("failed; will be redelivered");
    // The one that traps is replaced by one that works: the redelivery is acked.
    std::fs::write(&file, std::fs::read(guest("noop")).unwrap()).unwrap();
    let reloaded = place.run(&["reload", "--json"]).exits(0).json();
    assert_eq!((&reloaded[0]["outcome"], &reloaded[0]["receivers"][0]), (&"replaced".into(), &"orders".into()));
    wait_until_acked(&place, "orders", 1);
    let digest = reloaded[0]["digest"].clone();
    // One that is broken is refused, and the old one serves on.
    std::fs::write(&file, b"\0asm of no kind").unwrap();
    let refused = place.run(&["reload", "--json"]).fails(1, &["refused 1 component"]).json();
    assert_eq!((&refused[0]["outcome"], &refused[0]["digest"]), (&"refused".into(), &digest));
    assert!(refused[0]["error"].as_str().unwrap().contains("malformed"), "{refused}");
    publish(&place, "orders", 1);
    wait_until_acked(&place, "orders", 2);
    // Put back, it has not changed; SIGHUP looks again as well.
    std::fs::write(&file, std::fs::read(guest("noop")).unwrap()).unwrap();
    assert!(place.run(&["reload"]).exits(0).stdout().starts_with("unchanged"));
    std::fs::write(&file, std::fs::read(guest("counter")).unwrap()).unwrap();
    host.signal("HUP");
    host.wait_for("component replaced");
    host.signal("TERM");
    assert_eq!(host.end().0, Some(0));
}

#[test]
fn a_receiver_that_faults_on_every_message_is_slowed_until_its_component_changes() {
    let place = Place::default();
    let file = place.write("orders.wasm", std::fs::read(guest("trapping")).unwrap());
    let text =
        "[[receivers]]\nqueue = \"orders\"\ncomponent = \"orders.wasm\"\nretry = { attempts = 1 }\nconcurrency = 1\n";
    place.write("wasmpost.toml", text);
    publish(&place, "orders", 200);
    let mut host = place.start(&["run"]);
    host.wait_for("slowed to one at a time");
    let slowed = stats(&place, "orders");
    assert!(slowed["receiver"]["breaker"]["open"]["pause_ms"].as_u64() >= Some(1000), "{slowed}");
    let table = place.run(&["queues"]).exits(0).stdout();
    assert!(table.contains("slowed, pause"), "{table}");
    assert!(slowed["ready"].as_u64() > Some(120), "the messages wait, but for 64 that are tried first: {slowed}");
    std::fs::write(&file, std::fs::read(guest("noop")).unwrap()).unwrap();
    place.run(&["reload"]).exits(0);
    wait_until("none is ready any more", || stats(&place, "orders")["ready"] == 0);
    let done = stats(&place, "orders");
    assert_eq!(done["acked"].as_u64().unwrap() + done["dead"].as_u64().unwrap(), 200);
    assert!(done["dead"].as_u64() < Some(80), "{done}");
    assert_eq!(done["receiver"]["breaker"], "closed");
}

#[test]
fn check_shows_limits_as_tenants_cap_them() {
    let place = Place::default();
    let component = guest("noop").display().to_string();
    let text = format!(
        "[tenants.acme]\nlimits = {{ cpu = \"1s\" }}\n[[receivers]]\nqueue = \"orders\"\ntenant = \"acme\"\n\
         component = \"{component}\"\nlimits = {{ wall = \"5s\", cpu = \"10s\" }}\n"
    );
    place.write("wasmpost.toml", text);
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let changed = place.run(&["check"]).exits(0).stdout();
    let rows: Vec<_> = changed.lines().map(words).collect();
    assert_eq!(rows[1], ["@acme/orders", "acme", "wall", "5s", "30s"]);
    assert_eq!(rows[2], ["@acme/orders", "acme", "cpu", "1s", "2s"]);
    assert_eq!(rows.len(), 4, "{changed}");
    let all = place.run(&["check", "--limits"]).exits(0).stdout();
    assert_eq!(all.lines().count(), wasmpost_sandbox::Limits::table().len() + 2);
    let json = place.run(&["check", "--json"]).exits(0).json();
    assert_eq!((&json[0]["limits"]["cpu"], &json[0]["limits"]["memory"]), (&"1s".into(), &"64MiB".into()));
}

#[test]
fn leases_do_not_lapse_while_guests_burn_all_the_time_there_is() {
    let place = Place::default();
    let component = guest("echo").display().to_string();
    // Each delivery burns several times its lease, and there are many more at once than processors.
    place.write(
        "wasmpost.toml",
        format!(
            "[tenants.acme]\n[[receivers]]\nqueue = \"orders\"\ntenant = \"acme\"\ncomponent = \"{component}\"\n\
             publish = [\"out\"]\nlease = \"1s\"\nconcurrency = 16\nlimits = {{ cpu = \"30s\" }}\n\
             config = {{ spins = \"150000000\" }}\n"
        ),
    );
    publish(&place, "@acme/orders", 16);
    let host = place.start(&["run"]);
    wait_until_acked(&place, "@acme/orders", 16);
    let all = place.run(&["tenants", "--json"]).exits(0).json();
    let acme = tenant(&all, "acme");
    assert_eq!((&acme["deliveries"], &acme["acked"], &acme["failed"]), (&16.into(), &16.into(), &0.into()));
    host.signal("TERM");
    assert_eq!(host.end().0, Some(0));
    assert_eq!(stats(&place, "@acme/out")["ready"], 16, "each had its effect once");
}

#[test]
fn a_dead_letter_tells_what_its_last_attempt_used() {
    let place = Place::default();
    let component = guest("a12-flood").display().to_string();
    place.write(
        "wasmpost.toml",
        format!(
            "[[receivers]]\nqueue = \"orders\"\ncomponent = \"{component}\"\npublish = [\"*\"]\nretry = {{ attempts = 1 }}\n"
        ),
    );
    publish(&place, "orders", 1);
    let log = place.run(&["run", "--until-empty", "--log-format", "json"]).exits(0).stderr();
    let logged: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let event = logged.iter().find(|event| event["message"] == "dead-lettered").unwrap();
    let letter = place.run(&["dead-letters", "list", "--json"]).exits(0).json()[0].clone();
    let evidence = &letter["evidence"];
    assert_eq!(evidence["reason"], "publish-limit", "{letter}");
    for used in ["cpu_us", "wall_us", "memory_peak_bytes", "published_bytes"] {
        assert!(evidence[used].as_u64() > Some(0), "{used} in {evidence}");
    }
    assert_eq!(event["published_bytes"], evidence["published_bytes"]);
    assert!(event["cpu"].is_string() && event["wall"].is_string(), "{event}");
    let id = letter["id"].as_str().unwrap();
    let shown = place.run(&["dead-letters", "show", id]).exits(0).stdout();
    assert!(["cpu", "wall", "memory peak", "unpublished"].iter().all(|field| shown.contains(field)), "{shown}");
}
