//! The metrics of a running host, checked by `promtool` and scraped by Prometheus itself.
//!
//! Without Debian's package `prometheus`, which `make setup-brokers` installs, they are shown as ignored; in CI they fail.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A fault fails the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Trial};
use serde_json::Value;
use wasmpost_tests::{Place, guest, wait_until};

/// A process that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn main() -> ExitCode {
    let has = |name: &str| Command::new(name).arg("--version").output().is_ok_and(|ran| ran.status.success());
    let tests: [(&str, &str, fn()); 2] = [
        ("promtool finds nothing wrong with the metrics", "promtool", promtool_finds_nothing_wrong),
        ("prometheus scrapes a host and answers with what it counted", "prometheus", prometheus_scrapes_a_host),
    ];
    let trials = tests.map(|(name, program, test)| {
        let is_missing = !has(program) && std::env::var_os("CI").is_none();
        let trial = Trial::test(name, move || {
            test();
            Ok(())
        });
        trial
            .with_kind(if is_missing { format!("{program} is missing here") } else { String::new() })
            .with_ignored_flag(is_missing)
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}

/// A host that has worked off a message, with its address and its token.
fn host(place: &Place) -> (Running, String, String) {
    let component = guest("noop").display().to_string();
    place.write("wasmpost.toml", format!("[[receivers]]\nqueue = \"orders\"\ncomponent = \"{component}\"\n"));
    let mut command = place.command(&["run", "--admin", "127.0.0.1:0"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut page = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut page).unwrap();
    let page = page.trim().strip_prefix("page: http://").unwrap();
    let (address, token) = page.split_once("/#token=").unwrap();
    let host = (Running(child), address.to_owned(), token.to_owned());
    wait_until("the host receives", || get(address, "/readyz", "").starts_with("HTTP/1.1 200"));
    place.run_with(&["publish", "orders", "-"], "{}").exits(0);
    wait_until("the message is acked", || {
        get(address, "/metrics", token)
            .contains("wasmpost_queue_acked_total{broker=\"default\",queue=\"orders\",tenant=\"\"} 1\n")
    });
    host
}

/// The answer to a request, with its head.
fn get(address: &str, path: &str, token: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(address) else { return String::new() };
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer));
    answer
}

fn promtool_finds_nothing_wrong() {
    let place = Place::default();
    let (_host, address, token) = host(&place);
    let answer = get(&address, "/metrics", &token);
    let (_, text) = answer.split_once("\r\n\r\n").unwrap();
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let checked = promtool.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && told.is_empty(), "{told}");
}

fn prometheus_scrapes_a_host() {
    let place = Place::default();
    let (_host, address, token) = host(&place);
    place.write("token", &token);
    let config = format!(
        "scrape_configs:\n- job_name: wasmpost\n  scrape_interval: 200ms\n  scrape_timeout: 200ms\n  \
         authorization: {{ credentials_file: token }}\n  static_configs: [{{ targets: [\"{address}\"] }}]\n"
    );
    place.write("prometheus.yml", config);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let own = format!("127.0.0.1:{port}");
    let mut prometheus = Command::new("prometheus");
    prometheus.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"]);
    prometheus.arg(format!("--web.listen-address={own}")).current_dir(place.path());
    let _prometheus = Running(prometheus.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let value = |query: &str| {
        let answer = get(&own, &format!("/api/v1/query?query={query}"), "");
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let found: Value = serde_json::from_str(body).unwrap_or_default();
        found["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
    };
    wait_until("the host is up", || value("up").as_deref() == Some("1"));
    let acked = "wasmpost_deliveries_total%7Boutcome=%22acked%22%7D";
    wait_until("the delivery is counted", || value(acked).as_deref() == Some("1"));
}
