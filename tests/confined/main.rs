//! Confinement: attempts at each thing that the compiler of components and a hostile host may not do; their work, done all
//! the same; and kernels that cannot confine them.
//!
//! A case that needs a means of confinement that is missing here is shown as ignored, with the name of the means.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)] // A fault fails the test.

mod attempts;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitCode, Output};

use attempts::{Attempt, COMPILER, End, SERVER, Scene};
use libtest_mimic::{Arguments, Trial};
use wasmpost::config::Config;
use wasmpost_sandbox::{Compiler, EngineOptions, Kernel, Sandbox, Size, Span, confine_compiler};
use wasmpost_tests::{PATIENCE, Place, find_guest, guest, program};

/// Exit codes of an attempt.
const DONE: u8 = 0;
const REFUSED: u8 = 3;
const FAILED: u8 = 4;
/// The signal that ends a process for a system call.
const SIGSYS: i32 = 31;
/// The largest guests, compiled from languages that bring an interpreter, and one that is made a component first.
const LARGE: [&str; 5] = ["triage-python", "triage-javascript", "triage-go", "triage-rust", "noop"];
/// Attempts that only newer versions of landlock refuse to a server, with the version of the kernel that has it.
const NEWER: [(&str, (u32, u32)); 2] = [("listen", (6, 7)), ("signal another process", (6, 12))];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[1..] {
        ["attempt", "nothing"] => ExitCode::SUCCESS,
        ["attempt", kind, file, name] => attempt(kind, file, name),
        ["without", missing, program, ref rest @ ..] => without(missing, program, rest),
        _ => libtest_mimic::run(&Arguments::from_args(), trials()).exit_code(),
    }
}

/// Confines this process and makes an attempt.
fn attempt(kind: &str, file: &str, name: &str) -> ExitCode {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let scene = Scene {
        file: file.to_owned(),
        port: listener.local_addr().unwrap().port(),
        socket: UdpSocket::bind("127.0.0.1:0").unwrap(),
        pipe: std::io::pipe().unwrap(),
    };
    let (table, _confined) = if kind == "compiler" {
        assert_eq!(confine_compiler().missing(), None);
        (COMPILER, None)
    } else {
        let config = Config::load(&Path::new(file).with_file_name("wasmpost.toml")).unwrap();
        (SERVER, Some(wasmpost::host::confine(&config).unwrap().unwrap()))
    };
    let (_, _, made) = table.iter().find(|(other, _, _)| *other == name).unwrap();
    match made(&scene) {
        Ok(()) => ExitCode::from(DONE),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES)) => ExitCode::from(REFUSED),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(FAILED)
        }
    }
}

/// Becomes a program for which the kernel lacks a means of confinement, as an old one does, or one in a container.
fn without(missing: &str, program: &str, arguments: &[&str]) -> ExitCode {
    use seccompiler::{SeccompAction, SeccompFilter};
    let calls = if missing == "landlock" { vec![libc::SYS_landlock_create_ruleset] } else { vec![libc::SYS_seccomp] };
    let rules: BTreeMap<_, _> = calls.into_iter().map(|call| (call, vec![])).collect();
    let refused = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let machine = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, machine).unwrap();
    let filter: seccompiler::BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter(&filter).unwrap();
    panic!("{}", Command::new(program).args(arguments).exec());
}

fn trials() -> Vec<Trial> {
    let missing = Kernel::probe().missing();
    let mut trials = Vec::new();
    for (kind, table) in [("compiler", COMPILER), ("server", SERVER)] {
        for attempt in table {
            let (name, end, _) = attempt;
            let told = match end {
                End::Refused => "is refused",
                End::Ended => "ends it",
                End::Done => "succeeds",
            };
            let name = format!("an attempt of the {kind} to {name} {told}");
            let trial = Trial::test(name, move || {
                expect(kind, attempt);
                Ok(())
            });
            let needed = NEWER.iter().find(|(other, _)| kind == "server" && other == &attempt.0);
            trials.push(match needed {
                Some((_, version)) if linux() < *version => {
                    trial.with_kind(format!("needs Linux {}.{}", version.0, version.1)).with_ignored_flag(true)
                }
                _ => trial,
            });
        }
    }
    for name in LARGE {
        let can_run = find_guest(name).is_some();
        let trial = Trial::test(format!("{name} is compiled in confinement"), move || {
            compile(name);
            Ok(())
        });
        trials.push(trial.with_ignored_flag(!can_run));
    }
    let tests: [(&str, fn()); 4] = [
        ("a hostile host serves, reloads and ends in confinement", a_hostile_host_serves_reloads_and_ends),
        ("a host without landlock says so once, and a hostile one does not start", || a_host_lacks("landlock")),
        ("a host without seccomp says so once, and a hostile one does not start", || a_host_lacks("seccomp")),
        ("a compiler that was ended for a system call is told as that", a_compiler_that_was_ended_is_told_as_that),
    ];
    trials.extend(tests.map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    }));
    match missing {
        None => trials,
        Some(missing) => {
            let ignored = |trial: Trial| trial.with_kind(format!("{missing} is missing here")).with_ignored_flag(true);
            trials.into_iter().map(ignored).collect()
        }
    }
}

/// The version of the kernel.
fn linux() -> (u32, u32) {
    let system = rustix::system::uname();
    let mut numbers = system.release().to_str().unwrap().split(['.', '-']).map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Has a process make an attempt, which ends as it is to end.
fn expect(kind: &str, (name, end, _): &Attempt) {
    let place = Place::default();
    configure(&place, "hostile = true", "http = [\"http://localhost:1\"]");
    let file = place.write("file", "something");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["attempt", kind]).arg(file).arg(name);
    let Output { status, stderr, .. } = command.output().unwrap();
    let seen = match (status.code(), status.signal()) {
        (Some(code), _) if code == i32::from(DONE) => Some(End::Done),
        (Some(code), _) if code == i32::from(REFUSED) => Some(End::Refused),
        (_, Some(SIGSYS)) => Some(End::Ended),
        _ => None,
    };
    assert_eq!(seen, Some(*end), "{status}: {}", String::from_utf8_lossy(&stderr));
}

/// A configuration of one receiver, whose queue and component lie in the place.
fn configure(place: &Place, host: &str, receiver: &str) {
    std::fs::create_dir_all(place.path().join("cache")).unwrap();
    std::fs::copy(guest("noop"), place.path().join("orders.wasm")).unwrap();
    place.write(
        "wasmpost.toml",
        format!(
            "[host]\n{host}\n[tenants.acme]\nmessages = 1000\n[[receivers]]\nqueue = \"orders\"\ntenant = \"acme\"\n\
             component = \"orders.wasm\"\n{receiver}\n"
        ),
    );
}

/// A sandbox of a hostile host, which demands that its compiler is confined.
fn sandbox(compiler: Compiler) -> std::sync::Arc<Sandbox> {
    let mut options = EngineOptions { hostile: true, compiler, pool_instances: 4, ..EngineOptions::default() };
    options.load.compile_cpu = Span(PATIENCE * 4);
    options.load.compile_wall = Span(PATIENCE * 10);
    options.load.compile_memory = Size(8 << 30);
    Sandbox::new(options).unwrap()
}

fn compile(name: &str) {
    let compiler = Compiler::Child { program: program().to_owned(), arguments: vec!["compile-component".into()] };
    let loaded = sandbox(compiler).load_file(&guest(name)).unwrap();
    assert!(!loaded.is_from_cache() && !loaded.worlds().is_empty());
}

fn a_compiler_that_was_ended_is_told_as_that() {
    let compiler = Compiler::Child { program: "/bin/sh".into(), arguments: vec!["-c".into(), "kill -s SYS $$".into()] };
    let refused = sandbox(compiler).load_file(&guest("noop")).map(drop).unwrap_err().to_string();
    assert!(refused.contains("compiler was ended for a system call that it may not make"), "{refused}");
}

fn a_hostile_host_serves_reloads_and_ends() {
    let place = Place::default();
    let ingress =
        "[[ingress]]\nlisten = \"127.0.0.1:0\"\npath = \"/a\"\ntopic = \"@acme/orders\"\nsignature = \"none\"";
    let receiver = format!("http = [\"http://localhost:1\"]\n{ingress}");
    configure(&place, "hostile = true\ncache_dir = \"cache/new\"", &receiver);
    let listen = free_address();
    let mut host = place.start(&["run", "--admin", &listen]);
    assert!(get(&listen, "/livez").starts_with("HTTP/1.1 200 "), "the admin listener is open");
    // The addresses were bound before the right to bind any was given up.
    let listening = host.wait_for("listening for requests");
    let mut sender = TcpStream::connect(listening["address"].as_str().unwrap()).unwrap();
    sender.set_read_timeout(Some(PATIENCE)).unwrap();
    sender.write_all(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}").unwrap();
    let mut answer = String::new();
    sender.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    let publish = |body: &str| drop(place.run_with(&["publish", "@acme/orders", "-"], body).exits(0));
    publish("first");
    // All threads are bound, whichever of them started first.
    let threads = format!("/proc/{}/task", host.child.id());
    for thread in std::fs::read_dir(threads).unwrap() {
        let Ok(status) = std::fs::read_to_string(thread.unwrap().path().join("status")) else { continue };
        assert!(status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"), "{status}");
    }
    // A new component takes the place of the old one, and is compiled by a child.
    for (name, words) in [("echo", "replaced"), ("rejecting", "replaced")] {
        std::fs::copy(guest(name), place.path().join("new.wasm")).unwrap();
        std::fs::rename(place.path().join("new.wasm"), place.path().join("orders.wasm")).unwrap();
        let told = place.run(&["reload"]).exits(0).stdout();
        assert!(told.contains(words), "{told}");
    }
    host.signal("HUP");
    host.wait_for("reloading components");
    publish("second");
    host.signal("TERM");
    let (code, log) = host.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(place.path().join("cache/new").read_dir().unwrap().count() > 1, "compiled components are kept");
    place.run(&["check", "--queue", "wasmpost.db"]).exits(0);
}

/// An address on loopback that was free a moment ago.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// The answer to a request.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Runs the program where a means of confinement is missing.
fn run_without(missing: &str, place: &Place, arguments: &[&str]) -> wasmpost_tests::Ran {
    let mut command = place.command_of(&std::env::current_exe().unwrap(), &["without", missing]);
    let mut command = assert_cmd::Command::from_std({
        command.arg(program()).args(arguments);
        command
    });
    wasmpost_tests::Ran(command.timeout(PATIENCE).output().unwrap())
}

fn a_host_lacks(missing: &str) {
    let place = Place::default();
    configure(&place, "", "");
    let checked = run_without(missing, &place, &["check"]).exits(0).stderr();
    assert!(checked.contains("warning") && checked.contains(missing), "{checked}");
    let log = run_without(missing, &place, &["run", "--until-empty", "--log-format", "json"]).exits(0).stderr();
    let told: Vec<_> = log.lines().filter(|line| line.contains("compiler") && line.contains(missing)).collect();
    assert!(told.len() == 1 && told[0].contains("WARN"), "{log}");
    configure(&place, "hostile = true", "");
    for verb in [&["check"][..], &["run", "--until-empty"]] {
        run_without(missing, &place, verb).fails(2, &[missing, "hostile = true needs it", "Linux 5.13"]);
    }
    // The compiler does not rely on its host for it.
    let own = std::process::id().to_string();
    let compile = ["compile-component", "guard", "1", "65536", "65536", "9", "1000000000", "0", &own];
    run_without(missing, &place, &compile).fails(2, &[missing]);
}
