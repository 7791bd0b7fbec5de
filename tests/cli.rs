//! The command line from the outside: common tasks, and common mistakes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A fault fails the test.

use wasmpost_tests::{Place, guest, stats, wait_until_leased};

fn path(name: &str) -> String {
    guest(name).to_str().unwrap().to_owned()
}

fn publish(place: &Place, topic: &str, body: &str, more: &[&str]) -> String {
    place.run_with(&[&["publish", topic, "-"], more].concat(), body).exits(0).stdout().trim().to_owned()
}

#[test]
fn a_published_message_is_received_and_what_the_component_publishes_arrives() {
    let place = Place::default();
    publish(&place, "orders", "hello", &["--attribute", "Tag=one", "--attribute", "tag=two", "--id", "first"]);
    let run = ["run", "--queue", "orders", "--component", &path("echo"), "--publish", "out", "--until-empty"];
    place.run(&run).exits(0);
    assert_eq!((&stats(&place, "orders")["acked"], &stats(&place, "out")["ready"]), (&1.into(), &1.into()));
    let again = ["run", "--queue", "out", "--component", &path("rejecting"), "--until-empty"];
    place.run(&again).exits(0);
    let listed = &place.run(&["dead-letters", "list", "--json"]).exits(0).json()[0];
    assert_eq!((&listed["body_bytes"], &listed["hops"]), (&5.into(), &1.into()));
    assert_eq!(listed["attributes"]["Tag"], serde_json::json!(["one", "two"]));
    let id = listed["id"].as_str().unwrap();
    assert_eq!(place.run(&["dead-letters", "show", id, "--json"]).exits(0).json()[0]["body"], "hello");
}

#[test]
fn a_host_whose_log_can_not_be_written_works_on() {
    let place = Place::default();
    publish(&place, "orders", "hello", &[]);
    let mut run = place.command(&["run", "--queue", "orders", "--component", &path("echo"), "--publish", "out"]);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let status = run.args(["--until-empty", "--log", "debug"]).stderr(full).status().unwrap();
    assert!(status.success(), "{status}");
    assert_eq!((&stats(&place, "orders")["acked"], &stats(&place, "out")["ready"]), (&1.into(), &1.into()));
}

#[test]
fn a_dead_letter_of_an_impossible_time_is_shown_all_the_same() {
    let place = Place::default();
    publish(&place, "orders", "hello", &["--id", "first"]);
    place.run(&["run", "--queue", "orders", "--component", &path("rejecting"), "--until-empty"]).exits(0);
    let connection = rusqlite::Connection::open(place.path().join("wasmpost.db")).unwrap();
    connection.execute("UPDATE dead SET dead_at = 9223372036854775807", []).unwrap();
    drop(connection);
    let shown = place.run(&["dead-letters", "show", "first"]).exits(0).stdout();
    assert!(shown.contains("9223372036854775807 ms"), "{shown}");
    place.run(&["dead-letters", "list"]).exits(0);
}

#[test]
fn publishing_works_while_a_host_has_the_file_and_so_does_looking() {
    let place = Place::default();
    let mut host = place.start(&["run", "--queue", "orders", "--component", &path("noop"), "--log", "debug"]);
    let id = publish(&place, "orders", "hello", &[]);
    assert_eq!(host.wait_for("acked")["id"], *id);
    assert_eq!(stats(&place, "orders")["acked"], 1);
    assert_eq!(place.run(&["dead-letters", "list", "--json"]).exits(0).json(), serde_json::json!([]));
    host.signal("TERM");
    assert_eq!(host.end().0, Some(0));
    assert_eq!(stats(&place, "orders")["acked"], 1, "and without a host again");
}

#[test]
fn a_second_host_on_the_same_file_is_refused_and_the_first_goes_on() {
    let place = Place::default();
    let run = ["run", "--queue", "orders", "--component", &path("noop"), "--log", "debug"];
    let mut host = place.start(&run);
    place.run(&run).fails(2, &["wasmpost.db", "in use"]);
    publish(&place, "orders", "hello", &[]);
    host.wait_for("acked");
    host.signal("INT");
    assert_eq!(host.end().0, Some(0));
}

#[test]
fn a_host_that_is_told_to_stop_lets_the_message_in_flight_finish() {
    let place = Place::default();
    let config = format!(
        "[host]\ngrace = \"100ms\"\n[[receivers]]\nqueue = \"orders\"\ncomponent = {:?}\nlimits = {{ cpu = \"20s\" }}\n",
        path("looping")
    );
    place.write("wasmpost.toml", config);
    publish(&place, "orders", "hello", &[]);
    let host = place.start(&["run"]);
    // The message is leased as soon as the host receives; it never ends by itself.
    wait_until_leased(&place, "orders");
    host.signal("TERM");
    let (code, log) = host.end();
    assert_eq!(code, Some(1), "deliveries were interrupted: {log}");
    assert!(log.contains("interrupted and gave back 1 delivery"), "{log}");
    let stats = stats(&place, "orders");
    assert_eq!((&stats["ready"], &stats["leased"]), (&1.into(), &0.into()));
}

#[test]
fn a_second_signal_ends_a_host_at_once() {
    let place = Place::default();
    let config =
        format!("[[receivers]]\nqueue = \"orders\"\ncomponent = {:?}\nlimits = {{ cpu = \"20s\" }}\n", path("looping"));
    place.write("wasmpost.toml", config);
    publish(&place, "orders", "hello", &[]);
    let mut host = place.start(&["run"]);
    wait_until_leased(&place, "orders");
    host.signal("TERM");
    host.wait_for("stopping");
    host.signal("INT");
    assert_eq!(host.end().0, Some(130));
    // The process ended while it had the message: that is counted, and the message is there.
    let stats = stats(&place, "orders");
    assert_eq!((&stats["ready"], &stats["leased"], &stats["dead"]), (&1.into(), &0.into(), &0.into()));
}

#[test]
fn dead_letters_are_listed_shown_redriven_and_purged() {
    let place = Place::default();
    publish(&place, "orders", "poison \u{1b}[31m", &["--id", "one"]);
    publish(&place, "orders", "poison", &["--id", "two"]);
    let run = ["run", "--queue", "orders", "--component", &path("rejecting"), "--until-empty"];
    place.run(&run).exits(0);
    let list = place.run(&["dead-letters", "list"]).exits(0).stdout();
    assert!(list.contains("one") && list.contains("rejected") && list.contains("not for me"), "{list}");
    let shown = place.run(&["dead-letters", "show", "one"]).exits(0).stdout();
    assert!(shown.contains("sha256:") && shown.contains("attempt      1 at "), "{shown}");
    let body = place.run(&["dead-letters", "show", "one", "--body"]).exits(0).stdout();
    assert_eq!(body, "poison \u{1b}[31m");
    let none = place.run(&["dead-letters", "list", "--reason", "trap", "--json"]).exits(0).json();
    assert_eq!(none, serde_json::json!([]));
    assert_eq!(place.run(&["dead-letters", "redrive", "one"]).exits(0).stdout(), "1 redriven\n");
    assert_eq!(stats(&place, "orders")["ready"], 1);
    assert_eq!(place.run(&["dead-letters", "purge", "--all", "--queue", "orders"]).exits(0).stdout(), "1 purged\n");
    place.run(&["dead-letters", "purge", "two"]).fails(1, &["no dead letter"]);
    place.run(&["dead-letters", "show", "two"]).fails(1, &["two"]);
    // Redriven, the message is a message again, whose attempts go on counting.
    place
        .run(&["run", "--queue", "orders", "--component", &path("echo"), "--publish", "out", "--until-empty"])
        .exits(0);
    assert_eq!((&stats(&place, "orders")["acked"], &stats(&place, "out")["ready"]), (&1.into(), &1.into()));
}

#[test]
fn a_trapping_component_leaves_a_dead_letter_with_its_backtrace_and_publishes_nothing() {
    let place = Place::default();
    let config = format!(
        "[[receivers]]\nname = \"trapper\"\nqueue = \"orders\"\ncomponent = {:?}\npublish = [\"*\"]\n\
         retry = {{ attempts = 3, backoff_first = \"1ms\" }}\n",
        path("trapping")
    );
    place.write("wasmpost.toml", config);
    publish(&place, "orders", "hello", &[]);
    place.run(&["run", "--until-empty"]).exits(0);
    let letters = place.run(&["dead-letters", "list", "--json"]).exits(0).json();
    let letter = &letters[0];
    let evidence = &letters[0]["evidence"];
    assert_eq!(
        (&evidence["reason"], &evidence["receiver"], &letter["deliveries"]),
        (&"trap".into(), &"trapper".into(), &3.into())
    );
    assert!(evidence["backtrace"].as_str().unwrap().contains("receive"), "{evidence}");
    assert_eq!(letter["attempts"].as_array().unwrap().len(), 3);
    assert!(evidence["cpu_us"].as_u64().unwrap() > 0 && letter["attempts"][0]["delay_us"].as_u64().unwrap() >= 1000);
    assert_eq!(stats(&place, "out"), serde_json::Value::Null, "what it published was dropped");
}

#[test]
fn limits_end_a_component_and_name_themselves() {
    let place = Place::default();
    let receiver = |name: &str| {
        format!(
            "[[receivers]]\nqueue = {name:?}\ncomponent = {:?}\nretry = {{ attempts = 1 }}\n\
             limits = {{ cpu = \"100ms\", memory = \"16MiB\" }}\n",
            path(name)
        )
    };
    place.write("wasmpost.toml", receiver("looping") + &receiver("hungry"));
    publish(&place, "looping", "", &[]);
    publish(&place, "hungry", "", &[]);
    place.run(&["run", "--until-empty"]).exits(0);
    for (queue, reason) in [("looping", "cpu-limit"), ("hungry", "memory-limit")] {
        let letters = place.run(&["dead-letters", "list", "--queue", queue, "--json"]).exits(0).json();
        assert_eq!(letters[0]["evidence"]["reason"], reason, "{letters}");
    }
}

#[test]
fn a_delayed_message_and_a_second_publication_are_what_they_say() {
    let place = Place::default();
    publish(&place, "orders", "later", &["--delay", "1h", "--id", "a"]);
    let ran = place.run_with(&["publish", "orders", "-", "--id", "a"], "again").exits(0);
    assert!(ran.stderr().contains("published before"), "{}", ran.stderr());
    let stats = stats(&place, "orders");
    assert_eq!((&stats["delayed"], &stats["ready"]), (&1.into(), &0.into()));
}

#[test]
fn an_invalid_line_is_numbered_and_stops_or_is_skipped() {
    let place = Place::default();
    let lines = "{\"body\":\"one\"}\n{\"body\":}\n\n{\"bdy\":\"x\"}\n{\"body\":\"two\"}\n";
    place.write("messages.ndjson", lines);
    place
        .run(&["publish", "orders", "--ndjson", "messages.ndjson"])
        .fails(2, &["messages.ndjson", "line 2", "the 1 before it"]);
    assert_eq!(stats(&place, "orders")["ready"], 1);
    let ran = place
        .run(&["publish", "orders", "--ndjson", "messages.ndjson", "--skip-invalid"])
        .fails(1, &["skipped 2 invalid lines"]);
    let told = ran.stderr();
    assert!(told.contains("line 2: ") && told.contains("line 4: ") && told.contains("published 2"), "{told}");
    assert_eq!(stats(&place, "orders")["ready"], 3);
    let piped = place.run_with(&["publish", "orders", "--ndjson", "-"], "{\"body_base64\":\"AP8=\"}\n").exits(0);
    assert!(piped.stderr().contains("published 1"), "{}", piped.stderr());
}

#[test]
fn invoke_tells_verdict_publications_log_and_usage() {
    let place = Place::default();
    let echo = path("echo");
    let arguments = ["invoke", &echo, "--body", "-", "--config", "to=copies", "--publish", "copies", "--json"];
    let report = place.run_with(&arguments, "hello").exits(0).json();
    assert_eq!((&report["verdict"], &report["published"][0]["topic"]), (&"ack".into(), &"copies".into()));
    assert_eq!(report["published"][0]["body"], "hello");
    assert!(report["memory_peak_bytes"].as_u64().unwrap() > 0 && report["cpu_us"].as_u64().unwrap() > 0, "{report}");
    let denied = place.run_with(&["invoke", &echo, "--json"], "").exits(1).json();
    assert_eq!((&denied["verdict"], &denied["reason"]), (&"nack".into(), &"failed".into()));
    assert!(denied["error"].as_str().unwrap().contains("no grant to publish"), "{denied}");
    let logged = place.run(&["invoke", &path("logging")]).exits(0).stdout();
    assert!(logged.contains("log         critical logging levels: Level::Critical invoked"), "{logged}");
    assert!(logged.contains("\\u{1b}[31m") && !logged.contains('\u{1b}'), "{logged}");
    let trapped = place.run(&["invoke", &path("trapping")]).exits(1).stdout();
    assert!(trapped.contains("reason      trap") && trapped.contains("receive"), "{trapped}");
    let second = place.run(&["invoke", &path("flaky"), "--attempt", "2", "--publish", "out"]).exits(0).stdout();
    assert!(second.contains("published   out"), "{second}");
}

#[test]
fn inspect_tells_what_a_component_is_and_needs() {
    let place = Place::default();
    let told = place.run(&["inspect", &path("echo"), "--json"]).exits(0).json();
    assert_eq!(told["worlds"][0], "wasmpost:messaging/plugin@0.1.0");
    assert!(told["digest"].as_str().unwrap().starts_with("sha256:") && told["size_bytes"].as_u64().unwrap() > 1000);
    let imports = told["imports"].to_string();
    assert!(imports.contains("wasmpost:messaging/topic") && imports.contains("wasi:config/store"), "{imports}");
    assert!(told["needs"].to_string().contains("topics"), "{told}");
}

#[test]
fn components_that_are_missing_broken_or_over_a_limit_are_named() {
    let place = Place::default();
    let noop = path("noop");
    place.write("text.wasm", "hello");
    place.write("empty.wasm", "");
    let truncated = std::fs::read(guest("noop")).unwrap();
    place.write("truncated.wasm", &truncated[..truncated.len() / 2]);
    for file in ["gone.wasm", "text.wasm", "empty.wasm", "truncated.wasm"] {
        place.run(&["inspect", file]).fails(2, &[file]);
        place.run(&["invoke", file]).fails(2, &[file]);
        place.run(&["run", "--queue", "orders", "--component", file]).fails(2, &[file]);
    }
    assert!(!place.path().join("wasmpost.db").exists(), "no queue file is made for a component that is broken");
    place.run(&["publish", "orders", "gone.json"]).fails(2, &["gone.json"]);
    place.run(&["publish", "or ders", "-"]).fails(2, &["or ders"]);
    place.run(&["publish", "orders", "-", "--broker", "redis:x"]).fails(2, &["redis", "sqlite:"]);
    place.run(&["publish", "orders", "-", "--broker", "memory:"]).fails(2, &["memory"]);
    place.run(&["queues", "--broker", "sqlite:gone.db"]).fails(2, &["gone.db"]);
    place.run(&["queues", "--broker", "nowhere"]).fails(2, &["nowhere"]);
    place.run(&["run", "--queue", "or ders", "--component", &noop]).fails(2, &["or ders"]);
    place
        .run(&["run", "--queue", "a", "--component", &noop, "--broker", "sqlite:no/such/dir/q.db"])
        .fails(2, &["no/such/dir"]);
    place.run(&["run"]).fails(2, &["wasmpost.toml"]);
    place.run(&["run", "--queue", "a", "--component", &noop, "--log", "wasmpost=loud"]).fails(2, &["loud"]);
    place.write("wasmpost.toml", "");
    place.run(&["run"]).fails(2, &["receivers"]);
    place.write(
        "other.db",
        "this is not a database, but long enough to be taken for the head of one, as it has some bytes",
    );
    place.run(&["publish", "orders", "-", "--broker", "sqlite:other.db"]).fails(2, &["other.db", "not a queue file"]);
}

#[test]
fn a_body_over_the_limit_of_its_receiver_is_a_dead_letter() {
    let place = Place::default();
    let config =
        format!("[[receivers]]\nqueue = \"orders\"\ncomponent = {:?}\nlimits = {{ body = \"1KiB\" }}\n", path("noop"));
    place.write("wasmpost.toml", config);
    publish(&place, "orders", &"x".repeat(2000), &[]);
    place.run(&["run", "--until-empty"]).exits(0);
    let letters = place.run(&["dead-letters", "list", "--json"]).exits(0).json();
    assert_eq!((&letters[0]["evidence"]["reason"], &letters[0]["deliveries"]), (&"body-too-large".into(), &1.into()));
}

#[test]
fn a_component_sends_http_requests_to_the_origins_that_it_is_granted() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", server.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in server.incoming().flatten() {
            let mut lines = std::io::BufRead::lines(std::io::BufReader::new(&stream));
            while lines.next().unwrap().unwrap() != "" {}
            std::io::Write::write_all(&mut &stream, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap();
        }
    });
    let place = Place::default();
    let fetching = path("a09-fetching");
    let url = format!("Url={origin}/");
    publish(&place, "urls", "", &["--attribute", &url]);
    let run =
        ["run", "--queue", "urls", "--component", &fetching, "--publish", "out", "--http", &origin, "--until-empty"];
    place.run(&run).exits(0);
    assert_eq!((&stats(&place, "urls")["acked"], &stats(&place, "out")["ready"]), (&1.into(), &1.into()));
    let invoke = ["invoke", &fetching, "--attribute", &url, "--publish", "out", "--json"];
    let report = place.run(&[&invoke[..], &["--http", &origin]].concat()).exits(0).json();
    assert_eq!(report["published"][0]["body"], "hello");
    assert_eq!(place.run(&invoke).exits(1).json()["error"], "HttpRequestDenied");
    publish(&place, "urls", "", &["--attribute", &url]);
    let denied = place.run(&["run", "--queue", "urls", "--component", &fetching, "--until-empty"]).exits(0).stderr();
    let line = denied.lines().find(|line| line.contains("HTTP request denied")).unwrap();
    assert!(line.contains(&origin) && line.contains("\"receiver\":\"urls\""), "{line}");
    place.run(&[&invoke[..], &["--http", "https://*"]].concat()).fails(2, &["https://*", "patterns are not supported"]);
}

#[test]
fn a_list_says_what_it_left_out_and_goes_on_behind_it() {
    let place = Place::default();
    let lines: String = (0..120).map(|number| format!("{{\"id\":\"m{number}\",\"body\":\"x\"}}\n")).collect();
    place.write("lines.ndjson", lines);
    place.run(&["publish", "orders", "--ndjson", "lines.ndjson"]).exits(0);
    let run = ["run", "--queue", "orders", "--component", &path("rejecting"), "--until-empty", "--log", "error"];
    place.run(&run).exits(0);
    let list = |more: &[&str]| place.run(&[&["dead-letters", "list"], more].concat()).exits(0);
    let all = list(&[]);
    let some = list(&["--max", "70"]);
    assert_eq!((all.stdout().lines().count(), all.stderr()), (121, String::new()));
    assert_eq!(some.stdout().lines().count(), 71);
    assert!(some.stderr().contains("70 of 120 shown") && some.stderr().contains("--skip 70"), "{}", some.stderr());
    let rest = list(&["--max", "70", "--skip", "70", "--json"]);
    assert_eq!((rest.json().as_array().unwrap().len(), rest.stderr()), (50, String::new()));
    let one = list(&["--max", "1", "--reason", "rejected", "--json"]);
    assert!(one.stderr().contains("1 shown, and there are more"), "{}", one.stderr());
    assert_eq!(list(&["--max", "0"]).stdout().lines().count(), 1);
}

#[test]
fn as_many_ids_as_a_command_can_have_are_redriven_or_purged() {
    let place = Place::default();
    place.run_with(&["publish", "orders", "--id", "there", "-"], "x").exits(0);
    let run = ["run", "--queue", "orders", "--component", &path("rejecting"), "--until-empty", "--log", "error"];
    place.run(&run).exits(0);
    let ids: Vec<_> = (0..40_000).map(|number| number.to_string()).chain(["there".to_owned()]).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    assert_eq!(place.run(&[&["dead-letters", "redrive"], &ids[..]].concat()).exits(0).stdout(), "1 redriven\n");
    place.run(&run).exits(0);
    assert_eq!(place.run(&[&["dead-letters", "purge"], &ids[..]].concat()).exits(0).stdout(), "1 purged\n");
}
