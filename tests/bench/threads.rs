//! The gain of a second thread. A loop that only spins is the control: if it does not scale either, the machine was
//! busy with something else.

use std::sync::Arc;

use tokio::runtime::Runtime;
use wasmpost_msg::Receiver;
use wasmpost_sandbox::Profile;
use wasmtime::Config;

use crate::hosted::{Hosted, Queued};
use crate::measure::{By, Plan, Sample, Variant, interleave, timed};
use crate::raw::{Raw, best};
use crate::report::Report;
use crate::work::{attribute_list, attributes, component, receiver, sandbox};

/// Turns of the control for what counts as one message.
const SPINS: u32 = 10_000;

pub(crate) fn run(report: &mut Report, plan: Plan) {
    let guard = sandbox(Profile::Guard);
    let bounds = sandbox(Profile::Bounds);
    let one = Hosted::new(1, Some(&guard));
    let two = Hosted::new(2, Some(&guard));
    let noop = component("noop");
    let checksum = component("checksum");
    let body = bytes::Bytes::from(vec![b'x'; crate::BODY_BYTES]);
    let mut variants = vec![spin(1), spin(2)];
    let grows =
        [(&guard, &checksum, 1, "guard"), (&bounds, &checksum, 1, "bounds"), (&guard, &checksum, u32::MAX, "reused")];
    for (sandbox, wasm, reuse, id) in grows {
        let receiver: Arc<dyn Receiver> = receiver(sandbox, wasm, reuse);
        for (threads, hosted) in [(1, &one), (2, &two)] {
            variants.push(host(&format!("{id}-{threads}"), name(id, threads), hosted, &receiver, &body));
        }
    }
    let still: Arc<dyn Receiver> = receiver(&guard, &noop, 1);
    for (threads, hosted) in [(1, &one), (2, &two)] {
        variants.push(host(&format!("still-{threads}"), name("still", threads), hosted, &still, &body));
    }
    let default = Arc::new(Raw::new(&Config::new(), &checksum, attribute_list()));
    let raw = Arc::new(Raw::new(&best(), &checksum, attribute_list()));
    for (id, what, raw) in [("default", "wasmtime with Config::new()", default), ("raw", "raw wasmtime loop", raw)] {
        for threads in [1, 2] {
            let shown = format!("{what}, fresh, {}", count(threads));
            variants.push(loops(&format!("threads-{id}-{threads}"), shown, threads, &raw, &body));
        }
    }
    variants.extend(crate::workers::variants(&body));
    let rows = interleave(plan, variants);
    report.group("checksum of 1 KiB on one thread and on two; time between messages by the clock", By::Wall, rows);
}

fn count(threads: usize) -> &'static str {
    if threads == 1 { "one thread" } else { "two threads" }
}

fn name(id: &str, threads: usize) -> String {
    let what = match id {
        "guard" => "host, fresh, profile guard",
        "bounds" => "host, fresh, profile bounds",
        "reused" => "host, reused",
        _ => "host, fresh, guest that does nothing",
    };
    format!("{what}, {}", count(threads))
}

fn host<'a>(
    id: &str,
    name: String,
    hosted: &'a Hosted,
    receiver: &Arc<dyn Receiver>,
    body: &'a bytes::Bytes,
) -> Variant<'a> {
    let receiver = Arc::clone(receiver);
    let attributes = attributes();
    let drain = move |messages| hosted.drain(Queued::Memory, &receiver, None, body, &attributes, messages);
    Variant::new(format!("threads-{id}"), name, drain).at_most(Hosted::messages_max(body.len()))
}

/// Has so many threads work at once, each on its part.
fn on_threads(threads: usize, messages: usize, work: impl Fn(usize) + Sync) -> Sample {
    timed(|| {
        std::thread::scope(|scope| {
            (0..threads).for_each(|_| drop(scope.spawn(|| work(messages.div_ceil(threads)))));
        });
    })
}

fn spin<'a>(threads: usize) -> Variant<'a> {
    Variant::new(format!("threads-spin-{threads}"), format!("control: spinning, {}", count(threads)), move |messages| {
        on_threads(threads, messages, |messages| {
            (0..messages as u64 * u64::from(SPINS)).for_each(|turn| _ = std::hint::black_box(turn));
        })
    })
}

fn loops<'a>(id: &str, name: String, threads: usize, raw: &Arc<Raw>, body: &'a bytes::Bytes) -> Variant<'a> {
    let raw = Arc::clone(raw);
    Variant::new(id, name, move |messages| {
        on_threads(threads, messages, |messages| {
            let runtime: Runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                for _ in 0..messages {
                    raw.call(body).await;
                }
            });
        })
    })
}
