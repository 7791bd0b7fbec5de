//! The configuration: errors have line and column, and every key that is left out has a default that works.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A fault fails the test.

use std::time::Duration;

use secrecy::ExposeSecret;
use wasmpost::config::Config;
use wasmpost_tests::{Place, guest};

const MINIMAL: &str = "[[receivers]]\nqueue = \"orders\"\ncomponent = \"orders.wasm\"\n";

fn fault(text: &str) -> String {
    Config::parse(text, "wasmpost.toml".as_ref()).unwrap_err().to_string()
}

#[test]
fn a_queue_and_a_component_are_enough() {
    let config = Config::parse(MINIMAL, "etc/wasmpost.toml".as_ref()).unwrap();
    let receiver = &config.receivers[0];
    assert_eq!((receiver.name.as_str(), receiver.queue.name.as_str()), ("orders", "orders"));
    assert_eq!(receiver.component.to_str(), Some("etc/orders.wasm"), "paths are relative to the file");
    assert_eq!(config.brokers["default"].url(), "sqlite:etc/wasmpost.db");
    assert!(!config.id.is_empty());
    assert_eq!((receiver.concurrency, receiver.retry.attempts_max), (None, 8));
    assert!(receiver.grants.publish.is_empty() && receiver.grants.http.is_empty(), "nothing is granted by default");
    assert_eq!(config.grace, Duration::from_secs(25));
}

#[test]
fn everything_can_be_said() {
    let text = r#"
        [brokers]
        main = "sqlite:/var/lib/wasmpost/main.db"
        scratch = "memory:"

        [host]
        id = "worker-1"
        hostile = true
        instances = 8
        memory_max = "128MiB"
        grace = "10s"
        stack = "256KiB"
        load = { file = "100MiB", core_instances = 200, compile_cpu = "1m" }

        [tenants.acme]
        concurrency = 4
        weight = 3
        memory = "16MiB"
        publish_rate = 100
        messages = 5000
        topics_max = 20
        publish = ["invoices.*", "@beta/inbox"]
        topics = ["@beta/feed"]
        http = ["https://api.acme.test", "http://10.0.0.7:8080"]
        limits = { cpu = "1s" }

        [tenants.beta]
        messages = 10

        [[receivers]]
        name = "billing"
        queue = "orders"
        topics = ["refunds", "@beta/feed"]
        broker = "main"
        tenant = "acme"
        component = "billing.wasm"
        publish = ["invoices.new", "@beta/inbox"]
        http = ["https://API.acme.test:443"]
        concurrency = 2
        lease = "10s"
        retry = { attempts = 3, backoff_first = "100ms", backoff_max = "1m", jitter = 0.5, retry_after_max = "1h" }
        limits = { wall = "5s", memory = "32MiB" }
        concurrent = 8
        reuse = 100
        config = { currency = "EUR" }
    "#;
    let config = Config::parse(text, "wasmpost.toml".as_ref()).unwrap();
    let receiver = &config.receivers[0];
    assert_eq!(receiver.queue.all_topics(), ["@acme/orders", "@acme/refunds", "@beta/feed"]);
    assert_eq!((receiver.limits.wall.to_string(), receiver.limits.cpu.to_string()), ("5s".into(), "1s".into()));
    assert_eq!((receiver.config["currency"].as_str(), receiver.retry.attempts_max), ("EUR", 3));
    assert_eq!((receiver.concurrent, receiver.reuse), (8, 100));
    let acme = &config.tenants["acme"];
    assert!(config.engine.hostile && acme.concurrency == 4 && acme.weight == 3);
    assert_eq!((acme.publish_rate, acme.messages, acme.topics_max), (Some(100), Some(5000), Some(20)));
    assert_eq!(receiver.limits.memory.to_string(), "16MiB", "no delivery may have more than its tenant");
    assert_eq!(receiver.grants.publish_to("invoices.new").as_deref(), Some("@acme/invoices.new"));
    assert_eq!(receiver.grants.publish_to("@beta/inbox").as_deref(), Some("@beta/inbox"));
    let load = config.engine.load;
    assert_eq!((load.file.to_string(), load.core_instances, load.functions), ("100MiB".into(), 200, 50_000));
}

#[test]
fn the_switch_for_asynchronous_components_is_told_as_obsolete_and_taken() {
    let config = |text: &str| Config::parse(text, "wasmpost.toml".as_ref());
    assert!(config("[engine]\n").unwrap().obsolete.is_empty());
    for value in ["true", "false"] {
        let obsolete = config(&format!("[engine]\ncomponent_model_async = {value}\n")).unwrap().obsolete;
        assert!(obsolete[0].contains("component_model_async under [engine] is obsolete"), "{obsolete:?}");
        assert_eq!(obsolete.len(), 1);
    }
    assert!(config("[engine]\ncomponent_model_asnc = true\n").unwrap_err().to_string().contains("wasmpost.toml:2:1: "));
}

#[test]
fn an_unknown_key_is_refused_by_name_line_and_column() {
    let text = format!("{MINIMAL}compnent = 1\n");
    let fault = fault(&text);
    assert!(fault.starts_with("wasmpost.toml:4:1: ") && fault.contains("`compnent`"), "{fault}");
}

#[test]
fn each_fault_is_told_where_it_is() {
    let receiver = |line: &str| format!("{MINIMAL}{line}\n");
    let cases = [
        (receiver("concurrency = 0"), ":4:15:", "zero"),
        (receiver("concurrent = 0"), ":4:14:", "0 is not between 1 and 64"),
        (receiver("concurrent = 65"), ":4:14:", "65 is not between 1 and 64"),
        (receiver("publish = [\"a\", \"b*c\"]"), ":4:", "b*c"),
        (receiver("http = [\"https://*.a\"]"), ":4:8:", "patterns are not supported"),
        (receiver("http = [\"https://a/b\"]"), ":4:8:", "https://a/b"),
        (receiver("limits = { memory = \"lots\" }"), ":4:", "lots"),
        (receiver("limits = { memroy = \"1MiB\" }"), ":4:", "memroy"),
        (receiver("retry = { backoff_first = \"soon\" }"), ":4:", "soon"),
        (receiver("broker = \"nowhere\""), ":4:10:", "nowhere"),
        (receiver("tenant = \"nobody\""), ":4:10:", "nobody"),
        ("[brokers]\nmain = \"redis://localhost\"\n".to_owned(), ":2:8:", "redis"),
        ("[brokers]\nmain = \"orders.db\"\n".to_owned(), ":2:8:", "orders.db"),
        ("[brokers]\nmain = { url = \"memory:\", user = \"me\" }\n".to_owned(), ":2:16:", "takes no credentials"),
        ("[brokers]\nmain = { url = \"memory:\", pasword = 1 }\n".to_owned(), ":2:", "pasword"),
        ("[brokers]\nmain = { url = \"memory:\", ca_file = \"gone.pem\" }\n".to_owned(), ":2:37:", "gone.pem"),
        ("[brokers]\nmain = 7\n".to_owned(), ":2:8:", "the URL of a broker, or a table"),
        ("[host]\nid = \"a b\"\n".to_owned(), ":2:6:", "a b"),
        ("[[receivers]]\nqueue = \"a b\"\ncomponent = \"c\"\n".to_owned(), ":2:9:", "a b"),
        ("[[receivers]]\nqueue = \"a\"\n".to_owned(), ":1:1:", "component"),
        (format!("{MINIMAL}{MINIMAL}"), ":5:9:", "orders"),
        ("receivers = 7\n".to_owned(), ":1:13:", "sequence"),
        ("= 7\n".to_owned(), ":1:1:", ""),
    ];
    for (text, place, named) in cases {
        let fault = fault(&text);
        assert!(fault.contains(place) && fault.contains(named), "{place} and {named:?} in {fault}");
    }
}

#[test]
fn a_receiver_cannot_be_granted_more_than_its_tenant_may() {
    let tenant = "[tenants.acme]\npublish = [\"acme.*\"]\n";
    let text = format!("{tenant}{MINIMAL}tenant = \"acme\"\npublish = [\"acme.a\", \"other\"]\n");
    let fault = fault(&text);
    assert!(fault.contains(":7:22:") && fault.contains("other") && fault.contains("acme"), "{fault}");
    let tenant = "[tenants.acme]\nhttp = [\"https://a.test\"]\n";
    let text = format!("{tenant}{MINIMAL}tenant = \"acme\"\nhttp = [\"https://a.test\", \"http://a.test\"]\n");
    let fault = self::fault(&text);
    assert!(fault.contains(":7:27:") && fault.contains("\"http://a.test\"") && fault.contains("acme"), "{fault}");
}

#[test]
fn a_topic_of_another_tenant_is_taken_from_only_where_that_was_granted() {
    let tenants = |topics: &str| format!("[tenants.acme]\n{topics}\n[tenants.beta]\n{MINIMAL}tenant = \"acme\"\n");
    let receiver = "topics = [\"refunds\", \"@acme/own\", \"@beta/feed\"]\n";
    for refused in ["", "topics = [\"@beta/other\"]", "publish = [\"@beta/feed\"]"] {
        let fault = fault(&format!("{}{receiver}", tenants(refused)));
        assert!(fault.contains(":8:35:") && fault.contains("may not take from \"@beta/feed\""), "{fault}");
        assert!(fault.contains("topics under [tenants.acme]"), "{fault}");
    }
    let granted = format!("{}{receiver}", tenants("topics = [\"@beta/feed\"]"));
    let config = Config::parse(&granted, "wasmpost.toml".as_ref()).unwrap();
    assert_eq!(config.receivers[0].queue.all_topics()[1..], ["@acme/refunds", "@acme/own", "@beta/feed"]);
    // Receivers of no tenant belong to the operator.
    let operators = format!("[tenants.beta]\n{MINIMAL}topics = [\"@beta/feed\"]\n");
    assert!(Config::parse(&operators, "wasmpost.toml".as_ref()).is_ok());
}

#[test]
fn tenants_that_may_attack_have_a_quota_of_messages() {
    let config = |broker: &str, quota: &str| {
        format!(
            "[brokers]\ndefault = \"{broker}\"\n[host]\nhostile = true\n[tenants.acme]\n{quota}\n{MINIMAL}tenant = \"acme\"\n"
        )
    };
    let refused = fault(&config("sqlite:a.db", ""));
    assert!(
        refused.contains(":5:1:") && refused.contains("\"acme\"") && refused.contains("messages = 100000"),
        "{refused}"
    );
    let is_taken = |broker: &str, quota: &str| Config::parse(&config(broker, quota), "wasmpost.toml".as_ref()).is_ok();
    assert!(is_taken("sqlite:a.db", "messages = 10"));
    // A server keeps no quotas, and is not asked for any.
    assert!(is_taken("nats://broker.test/jobs", "") && !is_taken("nats://broker.test/jobs", "messages = 10"));
    assert!(!is_taken("nats://broker.test/jobs", "topics_max = 10"));
}

#[test]
fn quotas_hold_for_commands_without_a_host() {
    let place = Place::default();
    place.write("wasmpost.toml", "[tenants.acme]\nmessages = 2\n");
    let publish = || place.run_with(&["publish", "@acme/orders", "-"], "hello");
    publish().exits(0);
    publish().exits(0);
    publish().fails(1, &["\"acme\"", "2 messages"]);
    place.write("messages.ndjson", "{\"body\":\"x\"}\n");
    place.run(&["publish", "@acme/other", "--ndjson", "messages.ndjson"]).fails(1, &["\"acme\"", "2 messages"]);
    place.run_with(&["publish", "orders", "-"], "of nobody").exits(0);
}

/// A configuration, and the words of the error that it is refused with, none if it is good.
type Case = (String, &'static [&'static str]);

fn cases(good: &str, broken: &str) -> Vec<Case> {
    let receiver = |more: &str| format!("[[receivers]]\nqueue = \"a\"\ncomponent = {good:?}\n{more}\n");
    let at = |url: &str, more: &str| format!("[brokers]\ndefault = \"{url}\"\n{}", receiver(more));
    let table = |url: &str, key: &str| {
        format!("[brokers.default]\nurl = \"{url}\"\n{key} = \"wasmpost.toml\"\n{}", receiver(""))
    };
    let long = "q".repeat(221);
    let named = |url: &str, queue: &str| {
        format!("[brokers]\ndefault = \"{url}\"\n[[receivers]]\nqueue = \"{queue}\"\ncomponent = {good:?}\n")
    };
    vec![
        (receiver(""), &[]),
        (at("sqlite:a.db", "publish_broker = \"default\""), &[]),
        (at("memory:", "world = \"wasmpost:messaging/plugin\""), &[]),
        (format!("[tenants.x]\nmessages = 5\n[host]\nhostile = true\n{}", receiver("tenant = \"x\"")), &[]),
        (format!("[brokers]\nunused = \"nats://127.0.0.1:9/st\"\n{}", receiver("")), &[]),
        (String::new(), &["names no receivers"]),
        (at("sqlite:", ""), &["names no file"]),
        (at("memory:x", ""), &["memory:"]),
        (at("nats://127.0.0.1:9/st?password=x", ""), &["2:11", "no parameter \"password\""]),
        (at("nats://127.0.0.1:9/st?replicas=9", ""), &["replicas=9"]),
        (at("nats://127.0.0.1:9/a.b", ""), &["a.b"]),
        (at("nats-core://127.0.0.1:9/st", ""), &["no streams"]),
        (at("nats-core://127.0.0.1:9?replicas=3", ""), &["\"replicas\""]),
        (named("nats-core://127.0.0.1:9", "a..b"), &["a..b"]),
        (named("amqp://127.0.0.1:9", &long), &["220 bytes"]),
        (at("amqp://127.0.0.1:9?heartbeat=x", ""), &["amqp://127.0.0.1:9"]),
        (table("nats://127.0.0.1:9", "credentials_file"), &["\"default\"", "credentials"]),
        (table("amqp://127.0.0.1:9", "credentials_file"), &["\"default\"", "no file of credentials"]),
        (table("amqp://127.0.0.1:9", "ca_file"), &["\"default\"", "amqps://"]),
        (table("amqps://127.0.0.1:9", "ca_file"), &["\"default\"", "wasmpost.toml"]),
        (format!("[tenants.x]\nmessages = 5\n{}", at("nats://127.0.0.1:9", "tenant = \"x\"")), &["keeps no quotas"]),
        (format!("[tenants.x]\n[host]\nhostile = true\n{}", receiver("tenant = \"x\"")), &["\"x\"", "hostile"]),
        (format!("[tenants.x]\n[tenants.y]\n{}", receiver("tenant = \"x\"\ntopics = [\"@y/a\"]")), &["@y/a"]),
        (format!("[host]\nhostile = true\nprofile = \"bounds\"\n{}", receiver("")), &["bounds"]),
        (receiver("world = \"wasi:nothing/here\""), &["wasi:nothing/here"]),
        (receiver("concurrent = 2"), &["concurrent"]),
        (receiver("publish_broker = \"nowhere\""), &["nowhere"]),
        (receiver("limits = { cpu = \"1 parsec\" }"), &["1 parsec"]),
        (format!("[[receivers]]\nqueue = \"a\"\ncomponent = {broken:?}\n"), &["broken.wasm"]),
        (format!("{}{}", receiver(""), receiver("name = \"b\"")), &["one receiver"]),
    ]
}

#[test]
fn check_and_run_give_the_same_answer_as_long_as_nothing_has_to_be_connected_to() {
    let place = Place::default();
    let broken = place.write("broken.wasm", "(module)");
    for (text, words) in cases(guest("noop").to_str().unwrap(), broken.to_str().unwrap()) {
        place.write("wasmpost.toml", &text);
        let told = |ran: wasmpost_tests::Ran| {
            let stderr = ran.stderr();
            let error = stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default().to_owned();
            (ran.0.status.code(), error)
        };
        let (checked, ran) =
            (told(place.run(&["check"])), told(place.run(&["run", "--until-empty", "--log", "error"])));
        assert_eq!(checked, ran, "{text}");
        assert_eq!(checked.0, Some(if words.is_empty() { 0 } else { 2 }), "{text}: {}", checked.1);
        for word in words {
            assert!(checked.1.contains(word), "{word:?} in {:?} of {text}", checked.1);
        }
    }
}

#[test]
fn check_loads_every_component_and_points_at_one_that_is_missing() {
    let place = Place::default();
    let noop = guest("noop");
    place.write("wasmpost.toml", format!("[[receivers]]\nqueue = \"a\"\ncomponent = {noop:?}\n"));
    let ok = place.run(&["check"]).exits(0).stdout();
    assert!(ok.contains("ok, 1 receiver, 1 component"), "{ok}");
    place.write("wasmpost.toml", "[[receivers]]\nqueue = \"a\"\ncomponent = \"gone.wasm\"\n");
    place.run(&["check"]).fails(2, &["wasmpost.toml:3:13", "gone.wasm"]);
    place.write("broken.wasm", "(module)");
    place.write("wasmpost.toml", "[[receivers]]\nqueue = \"a\"\ncomponent = \"broken.wasm\"\n");
    place.run(&["check"]).fails(2, &["wasmpost.toml:3:13", "broken.wasm", "not a WebAssembly file"]);
    place.run(&["check", "--config", "none.toml"]).fails(2, &["none.toml"]);
}

#[test]
fn the_schema_knows_every_key_and_refuses_others() {
    let schema = Place::default().run(&["config-schema"]).exits(0).json();
    assert_eq!(schema["additionalProperties"], false);
    let receiver = &schema["$defs"]["RawReceiver"];
    for key in [
        "queue",
        "topics",
        "component",
        "publish",
        "http",
        "concurrency",
        "retry",
        "limits",
        "config",
        "tenant",
        "broker",
    ] {
        assert!(receiver["properties"][key]["description"].is_string(), "{key} is described");
    }
    for row in wasmpost_sandbox::Limits::table() {
        assert!(schema["$defs"]["Limits"]["properties"][row.name].is_object(), "{} is in the schema", row.name);
    }
}

#[test]
fn a_broker_that_is_a_server_has_a_table_of_who_comes() {
    let place = Place::default();
    place.write("password", "s3cret\n");
    place.write("ca.pem", "");
    let table = |more: &str| {
        let url = "nats://worker:in-url@broker.test:4222/jobs?replicas=3";
        place.write("wasmpost.toml", format!("[brokers.main]\nurl = \"{url}\"\n{more}"))
    };
    let load = |more: &str| Config::load(&table(more)).map_err(|error| error.to_string());
    if !wasmpost::registry::SCHEMES.iter().any(|scheme| scheme.name == "nats") {
        assert!(load("").unwrap_err().contains("--features nats"));
        return;
    }
    let broker = load("password_file = \"password\"\nca_file = \"ca.pem\"\n").unwrap().brokers["main"].clone();
    assert_eq!(broker.url(), "nats://broker.test:4222/jobs?replicas=3", "what is shown has no secret");
    assert_eq!(broker.access.user.as_deref(), Some("worker"));
    assert_eq!(broker.access.ca_file, Some(place.path().join("ca.pem")));
    let password = |broker: &wasmpost::registry::Address| {
        broker.access.password.as_ref().map(|password| password.expose_secret().to_owned())
    };
    assert_eq!(password(&broker).as_deref(), Some("s3cret"), "the file counts, without the end of its line");
    assert!(!format!("{broker:?}").contains("s3cret"));
    assert_eq!(password(&load("").unwrap().brokers["main"]).as_deref(), Some("in-url"));
    let named = load("user = \"other\"\ntoken_file = \"password\"\n").unwrap().brokers["main"].clone();
    assert_eq!(named.access.user.as_deref(), Some("other"));
    assert_eq!(named.access.token.as_ref().map(|token| token.expose_secret()), Some("s3cret"));
    for (more, place, told) in [
        ("password_file = \"gone\"\n", ":3:17:", "gone"),
        ("token_env = \"WASMPOST_TEST_NOT_SET\"\n", ":3:13:", "WASMPOST_TEST_NOT_SET"),
        ("token_file = \"password\"\ntoken_env = \"A\"\n", ":4:13:", "not both"),
        ("key_file = \"password\"\n", ":2:7:", "given together"),
        ("passwort = \"x\"\n", ":3:1:", "passwort"),
    ] {
        let fault = load(more).err().unwrap();
        assert!(fault.contains(place) && fault.contains(told), "{place} and {told:?} in {fault}");
        assert!(!fault.contains("s3cret") && !fault.contains("in-url"), "{fault}");
    }
}

#[test]
fn only_plain_files_are_read_up_to_a_size() {
    let place = Place::default();
    let fifo = place.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    let large = place.path().join("large");
    std::fs::File::create(&large).unwrap().set_len(1 << 40).unwrap();
    for file in ["/dev/zero", fifo.to_str().unwrap(), large.to_str().unwrap(), "."] {
        for call in [&["check", "--config", file][..], &["queues", "--config", file], &["run", "--config", file]] {
            place.run(call).fails(2, &["could not be read"]);
        }
        place.run(&["inspect", file]).fails(2, &[]);
        let text = format!("[brokers.far]\nurl = \"nats://localhost\"\nuser = \"u\"\npassword_file = {file:?}\n");
        place.write("secret.toml", text);
        place.run(&["check", "--config", "secret.toml"]).fails(2, &["secret.toml:4"]);
        for name in ["wasmpost-test.toml", "case.toml"] {
            let cases = Place::within(place.path());
            cases.write("wasmpost-test.toml", "");
            std::fs::remove_file(cases.path().join(name)).unwrap_or_default();
            std::os::unix::fs::symlink(file, cases.path().join(name)).unwrap();
            place.run(&["test", cases.path().to_str().unwrap()]).fails(2, &[]);
        }
        let cases = Place::within(place.path());
        cases.write("wasmpost-test.toml", "");
        cases.write("one.toml", format!("body_file = {file:?}\n"));
        place.run(&["test", cases.path().to_str().unwrap()]).fails(2, &["one.toml:1", "could not be read"]);
    }
}
