//! Configurations of paths that would not work, told before anything is served.

use wasmpost_tests::{Place, Ran, guest};

/// The configuration of a path, and the words of the error that it is refused with; none if it is good.
const CASES: &[(&str, &[&str])] = &[
    ("signature = \"none\"", &[]),
    ("", &["signature"]),
    ("signature = \"hub\"", &["10:13", "hub"]),
    ("signature = \"github\"", &["10:13", "needs a secret"]),
    ("signature = \"github\"\nsecret_env = \"WASMPOST_NO_SUCH\"", &["WASMPOST_NO_SUCH is not set"]),
    ("signature = \"github\"\nsecret_file = \"empty\"", &["needs a secret"]),
    ("signature = \"standard\"\nsecret_file = \"secret\"", &["whsec_"]),
    ("signature = \"none\"\nsecret_file = \"secret\"", &["takes no secret"]),
    ("signature = \"none\"\nbroker = \"rabbit\"", &["\"rabbit\"", "deduplicate = false"]),
    ("signature = \"none\"\nbroker = \"core\"", &["\"core\"", "deduplicate = false"]),
    ("signature = \"none\"\nbroker = \"nowhere\"", &["nowhere"]),
    ("signature = \"none\"\nheaders = [\"Cookie\"]", &["Cookie"]),
    ("signature = \"none\"\nid_header = \"two words\"", &["two words"]),
    ("signature = \"none\"\nbody = \"1GiB\"", &["64MiB"]),
    ("signature = \"none\"\ncertificate_file = \"secret\"", &["together"]),
    ("signature = \"none\"\ncertificate_file = \"secret\"\nkey_file = \"secret\"", &["127.0.0.1:0", "secret"]),
];

/// A configuration with a path of which this is said.
fn configured(said: &str) -> String {
    let component = guest("noop");
    format!(
        "[brokers]\nrabbit = \"amqp://127.0.0.1:9\"\ncore = \"nats-core://127.0.0.1:9\"\n[[receivers]]\nqueue = \"a\"\n\
         component = {component:?}\n[[ingress]]\nlisten = \"127.0.0.1:0\"\npath = \"/a\"\n{said}\ntopic = \"a\"\n"
    )
}

/// Has `check` and `run` look at a configuration, and expects the same of both.
#[track_caller]
fn expect(place: &Place, text: &str, words: &[&str]) {
    place.write("wasmpost.toml", text);
    for verb in [&["check"][..], &["run", "--until-empty"]] {
        let ran: Ran = place.run(verb);
        match words {
            [] => drop(ran.exits(0)),
            _ => drop(ran.fails(2, words)),
        }
    }
}

#[test]
fn a_path_that_would_not_work_is_refused_with_its_place_by_check_and_run_alike() {
    let place = Place::default();
    place.write("secret", "s3cr3t\n");
    place.write("empty", "\n");
    for (said, words) in CASES {
        expect(&place, &configured(said), words);
    }
    let good = configured("signature = \"none\"");
    expect(&place, &good.replace("127.0.0.1:0", "0.0.0.0:0"), &["8:10", "without encryption"]);
    expect(&place, &good.replace("\"/a\"", "\"a\""), &["slash"]);
    expect(&place, &good.replace("topic = \"a\"", "topic = \"@x/a\""), &["unknown tenant"]);
    let twice = |other: &str| {
        let path = "[[ingress]]\nlisten = \"127.0.0.1:9999\"\npath = \"/a\"\ntopic = \"a\"\nsignature = \"none\"\n";
        configured("").split("[[ingress]]").next().unwrap().to_owned() + path + &path.replace("\"/a\"", other)
    };
    expect(&place, &twice("\"/a\""), &["taken already"]);
    expect(&place, &twice("\"/b\"\nconnections = 5"), &["another certificate or number of connections"]);
}

#[test]
fn a_tenant_whose_messages_come_by_http_alone_needs_a_quota_at_a_hostile_host() {
    let place = Place::default();
    let text = configured("signature = \"none\"").replace("topic = \"a\"", "topic = \"@x/a\"");
    let hostile = |tenant: &str| format!("[host]\nhostile = true\n[tenants.x]\n{tenant}\n{text}");
    expect(&place, &hostile(""), &["\"x\"", "no quota of messages"]);
}

#[test]
fn an_address_that_is_taken_is_told() {
    let place = Place::default();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    place.write("wasmpost.toml", configured("signature = \"none\"").replace("127.0.0.1:0", &address));
    place.run(&["run", "--until-empty"]).fails(2, &[&address, "could not be listened on"]);
}
