//! Guests in worker processes instead of threads: what that would bring where threads of one process wait for each other
//! when memory is mapped.

use std::io::{Read, Write};
use std::process::Command;

use wasmpost_msg::{Context, Message, Receiver};
use wasmpost_sandbox::Profile;

use crate::measure::{Sample, Variant, timed};
use crate::peers::Piped;
use crate::work::{attributes, component, receiver, sandbox};

/// The argument of a worker.
pub(crate) const ARGUMENT: &str = "work-for-parent";
/// The length that asks for the last body again, so many times.
const AGAIN: u32 = u32::MAX;
/// How many messages a worker has at a time, as the threads of a host have by default.
const BATCH: usize = 16;

/// Messages that never leave the workers, and messages that come through a pipe each.
pub(crate) fn variants(body: &bytes::Bytes) -> Vec<Variant<'_>> {
    let ways = [(false, "each with messages of its own"), (true, "messages by pipe")];
    let all = ways.into_iter().flat_map(|way| [(way, 1), (way, 2)]);
    all.map(|((by_pipe, how), count)| {
        let mut workers: Vec<_> = (0..count).map(|_| start(body)).collect();
        let processes = if count == 1 { "one worker process" } else { "two worker processes" };
        let id = if by_pipe { "piped" } else { "process" };
        let name = format!("receiver, fresh, profile guard, {processes}, {how}");
        Variant::new(format!("threads-{id}-{count}"), name, move |messages| {
            let before: std::time::Duration = workers.iter().map(Piped::cpu).sum();
            let own = timed(|| {
                std::thread::scope(|scope| {
                    for worker in &mut workers {
                        scope.spawn(|| hand_over(worker, by_pipe, body, messages.div_ceil(count)));
                    }
                });
            });
            let used = workers.iter().map(Piped::cpu).sum::<std::time::Duration>() - before;
            Sample { cpu: own.cpu + used, ..own }
        })
    })
    .collect()
}

/// A worker that had one message.
fn start(body: &[u8]) -> Piped {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let mut worker = Piped::start(command.arg(ARGUMENT));
    hand_over(&mut worker, true, body, 1);
    worker
}

fn hand_over(worker: &mut Piped, by_pipe: bool, body: &[u8], messages: usize) {
    if !by_pipe {
        worker.write(&[AGAIN.to_le_bytes(), (messages as u32).to_le_bytes()].concat());
        worker.output.read_exact(&mut [0]).unwrap();
        return;
    }
    let frame = [&(body.len() as u32).to_le_bytes(), body].concat();
    let mut left = messages;
    let mut answers = [0; BATCH];
    while left > 0 {
        let some = left.min(BATCH);
        worker.write(&frame.repeat(some));
        worker.output.read_exact(&mut answers[..some]).unwrap();
        left -= some;
    }
}

/// The work of a worker, until its input ends.
pub(crate) fn work() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let receiver = receiver(&sandbox(Profile::Guard), &component("checksum"), 1);
    let attributes = attributes();
    let mut body = bytes::Bytes::new();
    let mut input = std::io::stdin().lock();
    let mut output = std::io::stdout().lock();
    let receive = |body: &bytes::Bytes| {
        let attributes = attributes.clone();
        let context = Context::default();
        runtime.block_on(receiver.receive(Message { attributes, body: body.clone().into(), context })).unwrap();
    };
    let mut number = [0; 4];
    while input.read_exact(&mut number).is_ok() {
        let length = u32::from_le_bytes(number);
        if length == AGAIN {
            input.read_exact(&mut number).unwrap();
            (0..u32::from_le_bytes(number)).for_each(|_| receive(&body));
        } else {
            let mut read = vec![0; length as usize];
            input.read_exact(&mut read).unwrap();
            body = read.into();
            receive(&body);
        }
        output.write_all(&[0]).unwrap();
        output.flush().unwrap();
    }
}
