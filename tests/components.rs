//! Loading components from the outside: where compiled ones are kept, what compiles them, and limits of the process.
#![allow(clippy::unwrap_used)] // A fault fails the test.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Stdio};

use wasmpost_tests::{PATIENCE, Place, Ran, guest, program, wait_until};

/// Runs a line of the shell in which `wasmpost` is the program and `$guest` a component.
fn shell(place: &Place, line: &str) -> Ran {
    let mut command = place.command_of(Path::new("sh"), &["-c", line]);
    command.env("wasmpost", program()).env("guest", guest("noop"));
    Ran(assert_cmd::Command::from_std(command).timeout(PATIENCE).output().unwrap())
}

#[test]
fn a_cache_that_cannot_be_made_is_a_warning() {
    let place = Place::default();
    let file = place.write("file", "");
    for verb in ["invoke", "inspect"] {
        let mut command = place.command(&[verb, guest("noop").to_str().unwrap()]);
        let ran = Ran(command.env("XDG_CACHE_HOME", &file).stdin(Stdio::null()).output().unwrap()).exits(0);
        let stderr = ran.stderr();
        for word in ["warning: cache", "Not a directory", "host.cache_dir", "XDG_CACHE_HOME"] {
            assert!(stderr.contains(word), "{word:?} is not in {stderr}");
        }
    }
}

#[test]
fn a_host_without_a_cache_says_so_in_its_log_and_works() {
    let place = Place::default();
    place.write("file", "");
    let component = guest("noop");
    let configuration =
        format!("[host]\ncache_dir = \"file\"\n[[receivers]]\nqueue = \"in\"\ncomponent = {component:?}\n");
    place.write("wasmpost.toml", configuration);
    place.run_with(&["publish", "in", "-"], "hello").exits(0);
    let ran = place.run(&["run", "--config", "wasmpost.toml", "--until-empty"]).exits(0);
    assert!(ran.stderr().contains("host.cache_dir"), "{}", ran.stderr());
    assert!(place.run(&["check", "--config", "wasmpost.toml"]).exits(0).stderr().contains("host.cache_dir"));
}

#[test]
fn a_relative_path_of_the_cache_is_ignored() {
    let place = Place::default();
    let home = place.path().join("home");
    let mut command = place.command(&["inspect", guest("noop").to_str().unwrap()]);
    command.env("XDG_CACHE_HOME", "relative").env("HOME", &home);
    Ran(command.output().unwrap()).exits(0);
    assert!(!place.path().join("relative").exists());
    assert!(home.join(".cache/wasmpost/components/key").exists());
}

#[test]
fn a_cache_that_cannot_be_written_is_read_all_the_same() {
    let place = Place::default();
    for (name, cache, memory) in [("first", "cache", "2GiB"), ("again", "cache", "1B"), ("other", "empty", "2GiB")] {
        let host = format!("[host]\ncache_dir = {cache:?}\nload = {{ compile_memory = {memory:?} }}\n");
        let receiver = format!("[[receivers]]\nqueue = \"in\"\ncomponent = {:?}\n", guest("noop"));
        place.write(&format!("{name}.toml"), host + &receiver);
    }
    place.run(&["check", "--config", "first.toml"]).exits(0);
    // From here on files cannot grow, as on a full disk. The signal for that is ignored, because it would end the
    // process.
    let unwritable = "trap '' XFSZ; ulimit -f 0; \"$wasmpost\" check --config";
    // It cannot compile, so the component is from the cache.
    shell(&place, &format!("{unwritable} again.toml")).exits(0);
    // A component that is not in the cache is compiled, and not kept.
    shell(&place, &format!("{unwritable} other.toml")).exits(0);
}

#[test]
fn under_a_limit_of_addresses_commands_need_few_and_a_host_says_which_settings_help() {
    let place = Place::default();
    for verb in ["invoke", "inspect"] {
        shell(&place, &format!("ulimit -v 2000000; \"$wasmpost\" {verb} \"$guest\"")).exits(0);
    }
    let words = ["profile = \"bounds\"", "instances", "memory_max", "compile_memory", "ulimit -v"];
    let run = "\"$wasmpost\" run --queue in --component \"$guest\" --until-empty";
    shell(&place, &format!("ulimit -v 20000000; {run}")).fails(2, &words);
}

#[test]
fn a_compiler_without_memory_says_which_setting_helps() {
    let place = Place::default();
    let component = guest("noop");
    let check = |memory: &str| {
        let host = format!("[host]\ncache_dir = \"cache\"\nload = {{ compile_memory = \"{memory}\" }}\n");
        place.write("wasmpost.toml", format!("{host}[[receivers]]\nqueue = \"in\"\ncomponent = {component:?}\n"));
        place.run(&["check", "--config", "wasmpost.toml"])
    };
    check("1B").fails(2, &["ended with"]);
    // With more and more, it does not start, then runs out of memory at work, then has enough.
    let mut runs_out = false;
    let has_enough = (40..400).step_by(4).any(|mebibytes| {
        let checked = check(&format!("{mebibytes}MiB"));
        if checked.0.status.code() == Some(0) {
            return true;
        }
        runs_out |= checked.fails(2, &["load.compile_memory"]).stderr().contains("compiling used more than");
        false
    });
    assert!(runs_out && has_enough, "it runs out: {runs_out}, it has enough: {has_enough}");
}

/// The compiler, as a host starts it, by a shell that has a file open beside.
fn compiler(place: &Place, line: &str) -> Child {
    let mut command = place.command_of(Path::new("sh"), &["-c", line]);
    command.env("wasmpost", program()).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// The descriptors that a process has open.
fn open(process: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(format!("/proc/{process}/fd")) else { return Vec::new() };
    let mut open: Vec<u32> =
        entries.flatten().map(|entry| entry.file_name().to_str().unwrap().parse().unwrap()).collect();
    open.sort_unstable();
    open
}

/// Whether a process runs: it is neither gone nor a zombie.
fn is_alive(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    status.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

#[test]
fn the_compiler_has_nothing_open_that_its_host_was_started_with() {
    let place = Place::default();
    let line = format!(
        "exec 7</dev/null 9</dev/null; exec \"$wasmpost\" compile-component guard 0 65536 65536 9 1000000000 0 {}",
        std::process::id()
    );
    let mut compiler = compiler(&place, &line);
    let process = compiler.id();
    let is_program =
        || fs::read_link(format!("/proc/{process}/exe")).is_ok_and(|exe| exe == program().canonicalize().unwrap());
    wait_until("only input and outputs are open", || is_program() && open(process) == [0, 1, 2]);
    // It is the compiler, and works.
    compiler.stdin.take().unwrap().write_all(b"no component").unwrap();
    let output = compiler.wait_with_output().unwrap();
    assert!(output.status.success() && output.stdout.first() == Some(&1), "{output:?}");
}

#[test]
fn the_compiler_ends_with_its_host() {
    let place = Place::default();
    // A shell gives a background process no input unless it is told to.
    let line = "exec 3<&0; \"$wasmpost\" compile-component guard 0 65536 65536 9 1000000000 0 $$ <&3 & echo $!; wait";
    let mut host = compiler(&place, line);
    let mut first = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(host.stdout.take().unwrap()), &mut first).unwrap();
    let process: u32 = first.trim().parse().unwrap();
    // Once it has set its limits it has also arranged to end with its host, and waits for its input.
    let limits = || fs::read_to_string(format!("/proc/{process}/limits")).unwrap_or_default();
    wait_until("the compiler has its limits", || {
        limits().lines().any(|line| line.starts_with("Max open files") && line.contains(" 16 "))
    });
    assert!(is_alive(process));
    // Its input stays open, so that nothing but the end of its host ends it.
    let _input = host.stdin.take();
    host.kill().unwrap();
    host.wait().unwrap();
    wait_until("the compiler ended", || !is_alive(process));
}

#[test]
fn the_compiler_does_not_start_for_a_host_that_is_gone() {
    let place = Place::default();
    let arguments = ["compile-component", "guard", "0", "65536", "65536", "9", "1000000000", "0", "1"];
    place.run(&arguments).fails(2, &["ended"]);
}
