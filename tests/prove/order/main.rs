//! The order of system calls of a host: a message is on disk before it is confirmed. And calls that fail, one after the
//! other: the host ends or logs an error, and loses nothing that it confirmed.
//!
//! It needs `strace`, which `scripts/setup-prove.sh` installs; the disk that gets full needs namespaces of users, or root.
//! A case that needs more than this machine has is ignored. `WASMPOST_PROVE_CALLS` says how many calls of a kind fail.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A fault fails the test.
#![allow(clippy::print_stderr)] // A proof tells its figures.

mod disk;
mod failing;
mod traced;

use std::process::{Command, Stdio};

use libtest_mimic::{Arguments, Trial};

/// Whether a command can be run here.
fn works(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn trial(name: &str, is_possible: bool, proof: impl AsyncFnOnce() + Send + 'static) -> Trial {
    let run = move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(proof());
        Ok(())
    };
    Trial::test(name, run).with_ignored_flag(!is_possible)
}

fn main() {
    if let Some(directory) = std::env::var_os(disk::INSIDE) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(disk::fill(directory.as_ref()));
    }
    let (traces, mounts) =
        (works("strace", &["-f", "true"]), works("unshare", &["-rm", "mount", "-t", "tmpfs", "x", "/tmp"]));
    let trials = vec![
        trial("a_publication_is_confirmed_by_the_host_only_after_it_is_on_disk", traces, traced::by_the_host),
        trial("a_publication_is_confirmed_by_the_command_only_after_it_is_on_disk", traces, traced::by_the_command),
        trial("no_flush_that_fails_loses_what_was_confirmed", traces, failing::flushes),
        trial("no_write_that_fails_loses_what_was_confirmed", traces, failing::writes),
        trial("no_write_without_room_loses_what_was_confirmed", traces, failing::writes_without_room),
        trial("no_open_that_fails_loses_what_was_confirmed", traces, failing::opens),
        trial("no_call_that_fails_while_a_file_is_made_spoils_it", traces, failing::calls_of_a_new_file),
        trial("a_full_disk_refuses_what_is_new_and_keeps_what_is_there", mounts, disk::full),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
