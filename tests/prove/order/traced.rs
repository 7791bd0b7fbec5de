//! Confirmation after the flush, in the trace of a host under load and of a command alone.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use wasmpost_tests::prove::account::assert_none;
use wasmpost_tests::prove::seen::{Ledger, Standing};
use wasmpost_tests::prove::trace::{calls, confirmations};
use wasmpost_tests::{PATIENCE, prove, signal};
use wasmpost_tests_host::prove::host::{Proved, command, database, place};
use wasmpost_tests_host::prove::load::publish_all;

/// How long a trace may not grow before it is taken for complete. Some tell of no end.
const QUIET: Duration = Duration::from_secs(5);
/// The calls that are traced: those that read requests, write answers, and bring bytes to the disk.
const CALLS: &str = "trace=read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,pwrite64,pwritev,fsync,fdatasync";

/// The command with a tracer beside it. The process is the command itself, and the tracer ends with it.
pub(crate) fn traced(command: &Command, trace: &Path, arguments: &[&str]) -> Command {
    let mut traced = Command::new("strace");
    traced.args(["-D", "-f", "-y", "-s", "64", "--seccomp-bpf", "-o"]).arg(trace).args(arguments);
    traced.arg("--").arg(command.get_program()).args(command.get_args());
    traced.current_dir(command.get_current_dir().unwrap());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    traced
}

/// The trace of a process that has ended: complete once it tells of that, or has not grown for long.
pub(crate) fn read(trace: &Path, process: u32) -> String {
    let ends = [format!("{process} +++ "), format!("{process}  +++ ")];
    let mut text = String::new();
    let mut grown = Instant::now();
    while grown.elapsed() < QUIET && !text.lines().any(|line| ends.iter().any(|end| line.starts_with(end.as_str()))) {
        std::thread::sleep(Duration::from_millis(10));
        let now = String::from_utf8_lossy(&std::fs::read(trace).unwrap_or_default()).into_owned();
        if now.len() > text.len() {
            (text, grown) = (now, Instant::now());
        }
    }
    text
}

pub(crate) async fn by_the_host() {
    let place = place();
    let ledger = Mutex::new(Ledger::default());
    let trace = place.path().join("trace");
    let command = traced(&command(&place, prove::program(), &[]), &trace, &["-e", CALLS]);
    let mut host = Proved::start(&place, command, "traced");
    assert!(host.connect().await.is_some(), "host runs: {}", host.log());
    let by_publisher = (0..3).map(|name| (0..20).map(|at| format!("p{name} {at}")).collect()).collect();
    publish_all(&database(&place), by_publisher, &mut fastrand::Rng::with_seed(1), &ledger).await;
    signal(&host.child, "TERM");
    assert!(host.end_within(PATIENCE).is_some_and(|status| status.success()), "{}", host.log());
    let mut faults = Vec::new();
    let answers = confirmations(&calls(&read(&trace, host.child.id())), &mut faults);
    assert_none(&faults);
    assert!(ledger.lock().unwrap().sent.values().all(|sent| sent.standing == Standing::Confirmed));
    assert!(answers >= 10, "{answers} answers were seen");
    eprintln!("{answers} answers, each after its flush");
}

pub(crate) async fn by_the_command() {
    let place = place();
    let trace = place.path().join("trace");
    let body = place.write("body", "hello");
    let mut plain = place.command(&["publish", "work", "--id", "an id of mine"]);
    plain.arg(body);
    let mut child = traced(&plain, &trace, &["-e", CALLS]).spawn().unwrap();
    assert!(child.wait().unwrap().success());
    let calls = calls(&read(&trace, child.id()));
    let is_log = |call: &prove::trace::Call| call.arguments.contains("wasmpost.db-wal>");
    let told =
        calls.iter().position(|call| call.name == "write" && call.arguments.contains("an id of mine\\n")).unwrap();
    let before = &calls[..told];
    let written = before.iter().rposition(|call| is_log(call) && call.name == "pwrite64").unwrap();
    let flushed = before.iter().rposition(|call| is_log(call) && call.name.starts_with('f') && call.result == 0);
    assert!(flushed > Some(written), "I13: the id is told before what was written is on disk");
}
