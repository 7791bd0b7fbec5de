//! Peers in processes of their own: Extism, a child for each message, and a child that lives on.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use wasmpost_tests::{root, target};

use crate::measure::{Sample, Variant, timed};

/// The nanoseconds of a tick in which the system tells the CPU time of children.
const TICK_NANOS: u64 = 10_000_000;

/// A child with both ends of its pipes.
pub(crate) struct Piped {
    child: Child,
    input: Option<ChildStdin>,
    pub(crate) output: BufReader<ChildStdout>,
}

impl Piped {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.input.as_mut().unwrap().write_all(bytes).unwrap();
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// CPU time of its main thread so far.
    pub(crate) fn cpu(&self) -> Duration {
        let text = std::fs::read_to_string(format!("/proc/{}/schedstat", self.child.id())).unwrap();
        Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        // It ends when its input does.
        drop(self.input.take());
        self.child.wait().unwrap();
    }
}

/// CPU time of a process with all threads and descendants so far, those that have ended included.
pub(crate) fn tree_cpu(id: u32) -> Duration {
    let Ok(text) = std::fs::read_to_string(format!("/proc/{id}/stat")) else { return Duration::ZERO };
    // The name, which may have spaces, is in parentheses; user and system time, own and of children, are 12 fields on.
    let fields = text.rsplit(')').next().unwrap().split_whitespace().skip(11).take(4);
    let ticks: u64 = fields.map(|field| field.parse::<u64>().unwrap()).sum();
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    let children = children.split_whitespace().map(|child| tree_cpu(child.parse().unwrap()));
    Duration::from_nanos(ticks * TICK_NANOS) + children.sum::<Duration>()
}

/// Extism as `tests/peers/setup.sh` built it, if it is there.
pub(crate) fn extism() -> Option<PathBuf> {
    Some(target().join("peers/extism")).filter(|program| program.exists())
}

/// One plugin for all messages, or a fresh one of the same compiled code for each.
pub(crate) fn extism_variant<'a>(program: &Path, id: String, how: &str, work: &str, body_bytes: usize) -> Variant<'a> {
    let mut command = Command::new(program);
    command.arg(root().join("tests/peers/extism.wat")).args([work, how, &body_bytes.to_string()]);
    let mut peer = Piped::start(&mut command);
    let version = peer.line();
    Variant::new(id, format!("Extism {version}, {how} plugin"), move |messages| {
        peer.write(format!("{messages}\n").as_bytes());
        let line = peer.line();
        let nanos: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        Sample { wall: Duration::from_nanos(nanos[0]), cpu: Duration::from_nanos(nanos[1]) }
    })
}

/// A process for each message.
pub(crate) fn once_variant<'a>(id: String, work: &'a str, body: &'a [u8]) -> Variant<'a> {
    Variant::new(id, "a child process for each message", move |messages| {
        let before = children_cpu();
        let own = timed(|| {
            for _ in 0..messages {
                let mut child = Command::new(env!("CARGO_BIN_EXE_bench-child"))
                    .args(["once", work])
                    .stdin(Stdio::piped())
                    .spawn()
                    .unwrap();
                child.stdin.take().unwrap().write_all(body).unwrap();
                assert!(child.wait().unwrap().success());
            }
        });
        Sample { cpu: own.cpu + (children_cpu() - before), ..own }
    })
}

/// A process that is trusted with all messages.
pub(crate) fn piped_variant<'a>(id: String, work: &str, body: &'a [u8]) -> Variant<'a> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench-child"));
    command.args(["loop", work]);
    let mut peer = Piped::start(&mut command);
    let frame = [&(body.len() as u32).to_le_bytes(), body].concat();
    Variant::new(id, "a child process that lives on, by pipe", move |messages| {
        let before = peer.cpu();
        let own = timed(|| {
            for _ in 0..messages {
                peer.write(&frame);
                peer.output.read_exact(&mut [0]).unwrap();
            }
        });
        Sample { cpu: own.cpu + (peer.cpu() - before), ..own }
    })
}

/// CPU time of all children that have ended.
fn children_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The name in parentheses may have spaces; the numbers follow it.
    let numbers: Vec<&str> = text.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks = |at: usize| numbers[at].parse::<u64>().unwrap();
    Duration::from_nanos((ticks(13) + ticks(14)) * TICK_NANOS)
}
