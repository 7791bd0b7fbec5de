//! The same work done in many ways: a native receiver, wasmtime alone, the receiver, the whole host, and its peers.

use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Runtime;
use wasmpost_delivery::BatchOptions;
use wasmpost_msg::{Attributes, Batch, Context, Message, Receiver, ReceiverFunc};
use wasmpost_sandbox::{EngineOptions, Profile, ReceiverOptions, Sandbox, WasmReceiver};
use wasmpost_tests::guest;
use wasmtime::Config;

use crate::hosted::{Hosted, Queued};
use crate::measure::{By, Plan, Variant, interleave, timed_on};
use crate::peers;
use crate::raw::{AttributeList, Raw, best};
use crate::report::Report;

/// The work of guests, and the bodies that they get.
const WORK: &[(&str, &str)] = &[("noop", "body not read"), ("checksum", "all words of the body added up")];
/// The work of which there is a guest that gets batches.
const BATCHED: &str = "checksum";
/// The messages of a batch.
const BATCH: usize = 64;
pub(crate) const SIZES: &[(usize, &str)] = &[(1 << 10, "1 KiB"), (64 << 10, "64 KiB"), (1 << 20, "1 MiB")];

/// The attributes of each message.
const ATTRIBUTES: &[(&str, &str)] = &[
    ("Content-Type", "application/octet-stream"),
    ("Correlation-Id", "0198f2c4-5b1e-7c3a-9d9f-0c6f1a2b3c4d"),
    ("Source", "bench"),
];

/// Shared by all variants of some work.
struct Work<'a> {
    name: &'static str,
    wasm: Vec<u8>,
    body: Bytes,
    attributes: Attributes,
    runtime: &'a Runtime,
    hosted: &'a Hosted,
}

pub(crate) fn attributes() -> Attributes {
    let mut attributes = Attributes::new();
    ATTRIBUTES.iter().for_each(|(name, value)| attributes.append(name, *value));
    attributes
}

pub(crate) fn attribute_list() -> AttributeList {
    ATTRIBUTES.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect()
}

/// Components as wasmpost loads them: the raw loop gets what the loader makes of a core module.
pub(crate) fn component(name: &str) -> Vec<u8> {
    let bytes = std::fs::read(guest(name)).unwrap();
    wasmpost_sandbox::component_of(&bytes).unwrap()
}

/// A sandbox with everything as it is by default, but for how accesses to memory are kept in bounds.
pub(crate) fn sandbox(profile: Profile) -> Arc<Sandbox> {
    let cache_dir = Some(wasmpost_tests::target().join("bench-cache"));
    Sandbox::new(EngineOptions { cache_dir, profile, ..EngineOptions::default() }).unwrap()
}

pub(crate) fn receiver(sandbox: &Arc<Sandbox>, wasm: &[u8], reuse: u32) -> Arc<WasmReceiver> {
    let options = ReceiverOptions { reuse, ..ReceiverOptions::default() };
    Arc::new(WasmReceiver::new(Arc::clone(sandbox), sandbox.load(wasm).unwrap(), options).unwrap())
}

pub(crate) fn run(report: &mut Report, plan: Plan) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let guard = sandbox(Profile::Guard);
    let bounds = sandbox(Profile::Bounds);
    let hosted = Hosted::new(1, Some(&guard));
    if peers::extism().is_none() {
        report.note("Extism: not built (tests/peers/setup.sh)");
    }
    for (name, what) in WORK {
        for (body_bytes, size) in SIZES {
            let work = Work {
                name,
                wasm: component(name),
                body: vec![b'x'; *body_bytes].into(),
                attributes: attributes(),
                runtime: &runtime,
                hosted: &hosted,
            };
            let mut variants = work.alone();
            for (profile, sandbox) in [("", &guard), ("-bounds", &bounds)] {
                variants.extend(work.sandboxed(profile, sandbox));
            }
            variants.extend(work.hosted(&guard));
            if *name == BATCHED {
                variants.extend(work.batched(&guard));
            }
            variants.extend(work.peers());
            let rows = interleave(plan, variants);
            report.group(&format!("{name}: {what}, {size}, one thread"), By::Cpu, rows);
        }
    }
}

impl Work<'_> {
    fn id(&self, variant: &str) -> String {
        format!("{}-{}-{variant}", self.name, self.body.len())
    }

    /// Wasmtime without this host.
    fn alone(&self) -> Vec<Variant<'_>> {
        let raw = Arc::new(Raw::new(&best(), &self.wasm, attribute_list()));
        let default = Raw::new(&Config::new(), &self.wasm, attribute_list());
        let list = attribute_list();
        let reused = Arc::clone(&raw);
        let fresh = |raw: Arc<Raw>| {
            move |messages| {
                timed_on(self.runtime, async {
                    for _ in 0..messages {
                        raw.call(&self.body).await;
                    }
                })
            }
        };
        vec![
            Variant::new(self.id("raw"), "raw wasmtime loop, fresh", fresh(raw)),
            Variant::new(self.id("raw-reused"), "raw wasmtime loop, reused", move |messages| {
                let mut live = self.runtime.block_on(reused.live(&self.body));
                timed_on(self.runtime, async {
                    for _ in 0..messages {
                        live.call(&list, &self.body).await;
                    }
                })
            }),
            Variant::new(self.id("default"), "wasmtime with Config::new(), fresh", fresh(Arc::new(default))),
        ]
    }

    /// The receiver, without a queue.
    fn sandboxed(&self, profile: &str, sandbox: &Arc<Sandbox>) -> Vec<Variant<'_>> {
        let shown = if profile.is_empty() { "" } else { ", profile bounds" };
        [("sandbox", "fresh", 1), ("sandbox-reused", "reused", u32::MAX)]
            .map(|(id, how, reuse)| {
                let receiver: Arc<dyn Receiver> = receiver(sandbox, &self.wasm, reuse);
                self.receiving(&format!("{id}{profile}"), format!("receiver with all limits, {how}{shown}"), receiver)
            })
            .into()
    }

    fn receiving(&self, id: &str, name: String, receiver: Arc<dyn Receiver>) -> Variant<'_> {
        Variant::new(self.id(id), name, move |messages| {
            timed_on(self.runtime, async {
                for _ in 0..messages {
                    let attributes = self.attributes.clone();
                    let body = self.body.clone().into();
                    let context = Context::default();
                    receiver.receive(Message { attributes, body, context }).await.unwrap();
                }
            })
        })
    }

    /// From a queue to the ack.
    fn hosted(&self, sandbox: &Arc<Sandbox>) -> Vec<Variant<'_>> {
        let fresh: Arc<dyn Receiver> = receiver(sandbox, &self.wasm, 1);
        let reused: Arc<dyn Receiver> = receiver(sandbox, &self.wasm, u32::MAX);
        [
            ("native-host", "host, queue in memory, native receiver", Queued::Memory, self.native()),
            ("host", "host, queue in memory, fresh", Queued::Memory, Arc::clone(&fresh)),
            ("host-reused", "host, queue in memory, reused", Queued::Memory, Arc::clone(&reused)),
            ("host-durable", "host, durable queue, fresh", Queued::Sqlite, fresh),
            ("host-durable-reused", "host, durable queue, reused", Queued::Sqlite, reused),
        ]
        .map(|(id, name, queued, receiver)| {
            let max = Hosted::messages_max(self.body.len());
            let drain =
                move |messages| self.hosted.drain(queued, &receiver, None, &self.body, &self.attributes, messages);
            Variant::new(self.id(id), name, drain).at_most(max)
        })
        .into()
    }

    /// Several messages in one call, without a queue and with one.
    fn batched(&self, sandbox: &Arc<Sandbox>) -> Vec<Variant<'_>> {
        let wasm = component(&format!("{}-batch", self.name));
        let fresh: Arc<dyn Receiver> = receiver(sandbox, &wasm, 1);
        let reused: Arc<dyn Receiver> = receiver(sandbox, &wasm, u32::MAX);
        let call = |receiver: Arc<dyn Receiver>| {
            move |messages: usize| {
                timed_on(self.runtime, async {
                    let mut left = messages;
                    while left > 0 {
                        let count = left.min(BATCH);
                        let message = |_| {
                            let context = Context::default();
                            Message { attributes: self.attributes.clone(), body: self.body.clone().into(), context }
                        };
                        let batch = Batch { messages: (0..count).map(message).collect(), is_again: false };
                        assert!(receiver.receive_batch(batch).await.unwrap().iter().all(Result::is_ok));
                        left -= count;
                    }
                })
            }
        };
        let drained = Arc::clone(&reused);
        let durable = move |messages| {
            let batch = Some(BatchOptions { messages: BATCH, ..BatchOptions::default() });
            self.hosted.drain(Queued::Sqlite, &drained, batch, &self.body, &self.attributes, messages)
        };
        vec![
            Variant::new(self.id("batch"), format!("receiver, {BATCH} in a call, fresh"), call(fresh)),
            Variant::new(self.id("batch-reused"), format!("receiver, {BATCH} in a call, reused"), call(reused)),
            Variant::new(
                self.id("host-durable-batch"),
                format!("host, durable queue, {BATCH} in a call, reused"),
                durable,
            )
            .at_most(Hosted::messages_max(self.body.len())),
        ]
    }

    fn native(&self) -> Arc<dyn Receiver> {
        let sums = self.name == "checksum";
        Arc::new(ReceiverFunc(move |mut message: Message| async move {
            if sums {
                let body = message.body.collect(usize::MAX).await.unwrap();
                let (words, _) = body.as_chunks::<8>();
                let sum = words.iter().fold(0_u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)));
                std::hint::black_box(sum);
            }
            Ok(())
        }))
    }

    fn peers(&self) -> Vec<Variant<'_>> {
        let native = self.receiving("native", "native receiver".to_owned(), self.native());
        let once = peers::once_variant(self.id("process"), self.name, &self.body);
        let piped = peers::piped_variant(self.id("pipe"), self.name, &self.body);
        let mut all = vec![native, once, piped];
        if let Some(program) = peers::extism() {
            all.extend(["fresh", "reused"].map(|how| {
                let id = self.id(&format!("extism-{how}"));
                peers::extism_variant(&program, id, how, self.name, self.body.len())
            }));
        }
        all
    }
}
