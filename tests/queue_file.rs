//! The queue file from the outside: the same file under every name and for every user.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)] // A fault fails the test.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use wasmpost_tests::{Place, Ran, guest, program, stats};

/// A user that owns nothing.
const NOBODY: u32 = 65_534;
/// How long a host keeps a silent connection. No other connection waits for it.
const SILENCE: Duration = Duration::from_secs(5);
/// Makes this program listen on a socket as another user, and print the bytes that it gets.
const IMPOSTOR: &str = "WASMPOST_TEST_IMPOSTOR";

fn run<'a>(component: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["run", "--queue", "orders", "--component", component, "--log", "debug"], more].concat()
}

fn noop() -> String {
    guest("noop").to_str().unwrap().to_owned()
}

fn publish(place: &Place, more: &[&str]) -> Ran {
    place.run_with(&[&["publish", "orders", "-"], more].concat(), "hello")
}

fn allow(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A program where everybody can run it. Another process copies it: a test that starts a program at that moment would
/// inherit a file that is open for writing, and a program that somebody writes to cannot be started.
fn reachable(place: &Place, program: &Path) -> PathBuf {
    let path = place.path().join(program.file_name().unwrap());
    if !path.exists() {
        assert!(Command::new("cp").arg(program).arg(&path).status().unwrap().success());
        allow(&path, 0o755);
    }
    path
}

/// The program as a user that owns nothing.
fn as_nobody(place: &Place, arguments: &[&str]) -> Ran {
    let mut command = Command::new(reachable(place, program()));
    command.args(arguments).current_dir(place.path()).uid(NOBODY).gid(NOBODY).env_remove("HOME");
    Ran(command.output().unwrap())
}

fn a_link_to_a_file_that_the_host_makes_leads_to_the_host() {
    let place = Place::default();
    let noop = noop();
    std::fs::create_dir(place.path().join("data")).unwrap();
    symlink("data/q.db", place.path().join("q.db")).unwrap();
    let mut host = place.start(&run(&noop, &["--broker", "sqlite:q.db"]));
    publish(&place, &["--broker", "sqlite:q.db", "--id", "m1"]).exits(0);
    assert_eq!(host.wait_for("acked")["id"], "m1");
    place.run(&run(&noop, &["--broker", "sqlite:data/q.db"])).fails(2, &["in use by another host"]);
    std::fs::hard_link(place.path().join("data/q.db"), place.path().join("hard.db")).unwrap();
    place.run(&run(&noop, &["--broker", "sqlite:hard.db"])).fails(2, &["in use"]);
    host.signal("TERM");
    assert_eq!(host.end().0, Some(0));
}

fn a_file_that_is_mounted_alone_is_refused() {
    let place = Place::default();
    publish(&place, &["--broker", "sqlite:q.db"]).exits(0);
    place.write("mounted.db", "");
    let mount = |arguments: &[&str]| {
        assert!(
            Command::new("sh").args(["-c", &arguments.join(" ")]).current_dir(place.path()).status().unwrap().success()
        );
    };
    mount(&["mount", "--bind", "q.db", "mounted.db"]);
    let ran = publish(&place, &["--broker", "sqlite:mounted.db"]);
    mount(&["umount", "mounted.db"]);
    ran.fails(2, &["mounted.db", "mount its directory"]);
}

fn a_host_whose_file_is_deleted_confirms_nothing_and_ends_with_an_error() {
    let place = Place::default();
    let noop = noop();
    let host = place.start(&run(&noop, &[]));
    for suffix in ["", "-wal", "-shm"] {
        std::fs::remove_file(place.path().join(format!("wasmpost.db{suffix}"))).unwrap();
    }
    let published = publish(&place, &["--id", "late"]);
    let (code, log) = host.end();
    if published.0.status.success() {
        // If the host noticed and ended before the request came, the message is in the new file.
        let left = place.run(&["queues"]).exits(0).stdout();
        assert!(left.lines().any(|line| line.split_whitespace().take(2).eq(["orders", "1"])), "{left}");
    } else {
        published.fails(1, &["deleted, replaced or moved"]);
    }
    assert!(code == Some(1) && log.contains("ERROR"), "{code:?}: {log}");
}

fn a_host_whose_file_is_deleted_ends_with_an_error_though_nothing_follows() {
    for suffix in ["", "-wal"] {
        let place = Place::default();
        let noop = noop();
        publish(&place, &[]).exits(0);
        let mut host = place.start(&run(&noop, &[]));
        host.wait_for("acked");
        std::fs::remove_file(place.path().join(format!("wasmpost.db{suffix}"))).unwrap();
        host.signal("TERM");
        let (code, log) = host.end();
        let told = log.lines().any(|line| line.contains("ERROR") && line.contains("deleted, replaced or moved"));
        assert!(code == Some(1) && told, "{suffix:?}, {code:?}: {log}");
    }
}

fn publishers_at_once_all_succeed_while_a_host_comes_and_goes() {
    let place = Place::default();
    let noop = noop();
    place.write("body", "hello");
    let publisher = |number: usize| -> Child {
        let mut command = place.command(&["publish", "orders", "--id", &number.to_string(), "body"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut publishers: Vec<Child> = (0..40).map(publisher).collect();
    let mut host = place.start(&run(&noop, &[]));
    publishers.extend((40..80).map(publisher));
    host.wait_for("acked");
    host.signal("TERM");
    for publisher in publishers {
        let output = publisher.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(host.end().0, Some(0));
    let stats = stats(&place, "orders");
    let stored = stats["ready"].as_u64().unwrap() + stats["acked"].as_u64().unwrap();
    assert_eq!(stored, 80, "{stats}");
}

fn a_host_is_reached_however_long_its_path_and_wherever_temporary_files_are() {
    let place = Place::default();
    let noop = noop();
    let deep = "deep".repeat(30);
    let broker = format!("sqlite:{deep}/wasmpost.db");
    std::fs::create_dir(place.path().join(&deep)).unwrap();
    let mut host = place.start(&run(&noop, &["--broker", &broker]));
    let mut command = place.command(&["publish", "orders", "--broker", &broker, "body"]);
    place.write("body", "hello");
    assert!(command.env("TMPDIR", "/nonexistent").status().unwrap().success());
    host.wait_for("acked");
}

fn only_a_socket_is_removed_to_make_one() {
    let place = Place::default();
    let noop = noop();
    let path = place.write("wasmpost.db.sock", "mine");
    place.run(&run(&noop, &[])).fails(1, &["wasmpost.db.sock", "not a socket"]);
    assert_eq!(std::fs::read(path).unwrap(), b"mine");
}

fn a_socket_of_another_user_is_sent_nothing() {
    let place = Place::default();
    allow(place.path(), 0o777);
    let mut impostor = Command::new(reachable(&place, &std::env::current_exe().unwrap()));
    impostor.env(IMPOSTOR, place.path().join("wasmpost.db.sock")).uid(NOBODY).gid(NOBODY).stdout(Stdio::piped());
    let mut impostor = impostor.spawn().unwrap();
    let mut said = BufReader::new(impostor.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert_eq!(said.next().as_deref(), Some("listening"));
    publish(&place, &["--id", "secret"]).exits(0);
    assert_eq!(stats(&place, "orders")["ready"], 1, "it is in the file");
    impostor.kill().unwrap();
    impostor.wait().unwrap();
    let sent: Vec<_> = said.filter(|line| line != "0 bytes").collect();
    assert!(sent.is_empty(), "{sent:?}");
}

fn listen_as_impostor(path: &Path) {
    let listener = UnixListener::bind(path).unwrap();
    allow(path, 0o777);
    println!("listening");
    for stream in listener.incoming() {
        let mut sent = Vec::new();
        drop(stream.unwrap().read_to_end(&mut sent));
        println!("{} bytes", sent.len());
    }
}

/// Takes requests and answers none; after so many it is gone.
fn silent_host(place: &Place, requests: usize) -> std::thread::JoinHandle<()> {
    let path = place.path().join("wasmpost.db.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for _ in 0..requests {
            let (mut stream, _) = listener.accept().unwrap();
            let mut length = [0; 4];
            stream.read_exact(&mut length).unwrap();
            let mut frame = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut frame).unwrap();
        }
        std::fs::remove_file(path).unwrap();
    })
}

fn an_answer_that_did_not_come_is_told_as_what_may_have_happened() {
    let place = Place::default();
    publish(&place, &[]).exits(0);
    let gone = |host: std::thread::JoinHandle<()>| host.join().unwrap();
    let host = silent_host(&place, 1);
    place.run(&["dead-letters", "redrive", "--all"]).fails(1, &["did not answer", "may have been redriven"]);
    gone(host);
    let host = silent_host(&place, 1);
    place.write("lines", "{\"body\":\"one\"}\n{\"body\":\"two\"}\n");
    let ran = place.run(&["publish", "orders", "--ndjson", "lines"]);
    ran.fails(1, &["did not answer", "may have been stored", "same ids"]);
    gone(host);
    let host = silent_host(&place, 1);
    publish(&place, &["--id", "again"]).exits(0);
    gone(host);
    assert_eq!(stats(&place, "orders")["ready"], 2, "it was published again, to the file");
}

fn a_file_that_can_not_be_written_can_be_looked_at() {
    let place = Place::default();
    let rejecting = guest("rejecting").to_str().unwrap().to_owned();
    publish(&place, &["--id", "dead"]).exits(0);
    place.run(&["run", "--queue", "orders", "--component", &rejecting, "--until-empty"]).exits(0);
    let file = |suffix: &str| place.path().join(format!("wasmpost.db{suffix}"));
    allow(place.path(), 0o755);
    allow(&file(""), 0o644);
    assert!(as_nobody(&place, &["queues"]).exits(0).stdout().contains("orders"));
    assert!(as_nobody(&place, &["dead-letters", "list"]).exits(0).stdout().contains("dead"));
    as_nobody(&place, &["dead-letters", "show", "dead"]).exits(0);
    as_nobody(&place, &["dead-letters", "redrive", "dead"]).exits(2);
    assert!(!file("-wal").exists() && !file("-shm").exists(), "nothing was made");

    // A host that was killed leaves a log with what is not in the file yet.
    let noop = noop();
    let mut host = place.start(&run(&noop, &[]));
    publish(&place, &["--delay", "1h"]).exits(0);
    host.child.kill().unwrap();
    host.end();
    for has_index in [true, false] {
        if !has_index {
            std::fs::remove_file(file("-shm")).unwrap();
        }
        ["", "-wal", "-shm"].map(file).iter().filter(|file| file.exists()).for_each(|file| allow(file, 0o644));
        let shown = as_nobody(&place, &["queues", "--json"]).exits(0).json();
        let orders = shown.as_array().unwrap().iter().find(|stats| stats["queue"] == "orders").unwrap().clone();
        assert_eq!((&orders["delayed"], &orders["dead"]), (&1.into(), &1.into()), "{orders}");
    }
}

fn silent_connections_keep_no_command_out() {
    let place = Place::default();
    let noop = noop();
    let _host = place.start(&run(&noop, &[]));
    let connect = |_| UnixStream::connect(place.path().join("wasmpost.db.sock")).unwrap();
    let mut silent: Vec<_> = (0..600).map(connect).collect();
    // The oldest made room for the others, which are still listened to.
    assert_eq!(silent[0].read(&mut [0]).unwrap(), 0);
    silent[599].set_nonblocking(true).unwrap();
    assert_eq!(silent[599].read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    let began = Instant::now();
    publish(&place, &[]).exits(0);
    assert!(began.elapsed() < SILENCE, "published after {:?}", began.elapsed());
}

fn blocks_that_were_written_over_are_found_by_check() {
    let place = Place::default();
    let line = |number: usize| format!("{{\"id\":\"{number}\",\"body\":\"{}\"}}\n", "x".repeat(3000 + 40 * number));
    let lines: String = (0..200).map(line).collect();
    place.run_with(&["publish", "orders", "--ndjson", "-"], &lines).exits(0);
    let whole = std::fs::read(place.path().join("wasmpost.db")).unwrap();
    let told = place.run(&["check", "--queue", "wasmpost.db"]).exits(0).stdout();
    assert!(told.contains("200 messages"), "{told}");
    place.run(&["check", "--queue"]).exits(0);
    const PAGE: usize = 4096;
    let seed =
        std::env::var("WASMPOST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("WASMPOST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..20 {
        let mut damaged = whole.clone();
        let page = random.usize(..whole.len() / PAGE);
        damaged[page * PAGE..(page + 1) * PAGE].fill_with(|| random.u8(..));
        place.write("damaged.db", &damaged);
        let found = place.run(&["check", "--queue", "damaged.db", "--json"]);
        assert_eq!(found.0.status.code(), Some(1), "page {page} is damaged: {} {}", found.stdout(), found.stderr());
        assert!(!found.json().as_array().unwrap().is_empty());
    }
}

fn can_mount() -> bool {
    let place = Place::default();
    place.write("a", "");
    place.write("b", "");
    let script = "mount --bind a b && umount b";
    let tried = Command::new("sh").args(["-c", script]).current_dir(place.path()).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

fn main() {
    if let Some(path) = std::env::var_os(IMPOSTOR) {
        return listen_as_impostor(Path::new(&path));
    }
    std::io::stdout().flush().unwrap();
    let is_root = rustix::process::geteuid().is_root();
    // Other users, and mounts, are for root to make: where the tests run as somebody else, these are shown as ignored.
    let trials: Vec<(&str, fn(), bool)> = vec![
        (
            "a link to a file that the host makes leads to the host",
            a_link_to_a_file_that_the_host_makes_leads_to_the_host,
            true,
        ),
        ("a file that is mounted alone is refused", a_file_that_is_mounted_alone_is_refused, is_root && can_mount()),
        (
            "a host whose file is deleted confirms nothing and ends with an error",
            a_host_whose_file_is_deleted_confirms_nothing_and_ends_with_an_error,
            true,
        ),
        (
            "a host whose file is deleted ends with an error though nothing follows",
            a_host_whose_file_is_deleted_ends_with_an_error_though_nothing_follows,
            true,
        ),
        (
            "publishers at once all succeed while a host comes and goes",
            publishers_at_once_all_succeed_while_a_host_comes_and_goes,
            true,
        ),
        (
            "a host is reached however long its path and wherever temporary files are",
            a_host_is_reached_however_long_its_path_and_wherever_temporary_files_are,
            true,
        ),
        ("what is no socket is not removed to make one", only_a_socket_is_removed_to_make_one, true),
        ("a socket of another user is sent nothing", a_socket_of_another_user_is_sent_nothing, is_root),
        (
            "an answer that did not come is told as what may have happened",
            an_answer_that_did_not_come_is_told_as_what_may_have_happened,
            true,
        ),
        ("a file that can not be written can be looked at", a_file_that_can_not_be_written_can_be_looked_at, is_root),
        ("silent connections keep no command out", silent_connections_keep_no_command_out, true),
        ("blocks that were written over are found by check", blocks_that_were_written_over_are_found_by_check, true),
    ];
    let trial = |(name, test, can_run): (&str, fn(), bool)| {
        let trial = Trial::test(name, move || {
            test();
            Ok(())
        });
        trial.with_ignored_flag(!can_run)
    };
    libtest_mimic::run(&Arguments::from_args(), trials.into_iter().map(trial).collect()).exit();
}
