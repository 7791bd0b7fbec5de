//! The example receiver in every language: wasmtime alone on the same component, against the receiver with all limits.

use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Runtime;
use wasmpost_msg::{Attributes, Context, Message, Receiver};
use wasmpost_sandbox::{EngineOptions, ReceiverOptions, Sandbox, WasmReceiver};
use wasmpost_tests::{find_guest, target};

use crate::measure::{By, Plan, Variant, interleave, timed_on};
use crate::raw::{AttributeList, Raw, best};
use crate::report::Report;

/// Every language in which there is an example.
pub(crate) const LANGUAGES: &[&str] =
    &["rust", "c", "zig", "assemblyscript", "go", "javascript", "typescript", "python"];
/// The size of tables that the runtime of one language needs; the others leave it unused.
const TABLE_ELEMENTS: u32 = 200_000;
/// With less, instances in Python, which never gives memory back, end after some messages.
const MEMORY: &str = "256MiB";

const ATTRIBUTES: &[(&str, &str)] = &[
    ("Content-Type", "application/json"),
    ("X-Github-Event", "push"),
    ("X-Github-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
];

pub(crate) fn run(report: &mut Report, plan: Plan) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cache_dir = Some(target().join("bench-cache"));
    let sandbox = Sandbox::new(EngineOptions { cache_dir, ..EngineOptions::default() }).unwrap();
    println!("the example in each language, webhook of 1 KiB, one thread; raw: wasmtime alone, without limits\n");
    for language in LANGUAGES {
        match find_guest(&format!("triage-{language}")) {
            Some(path) => measure(report, plan, language, &std::fs::read(path).unwrap(), &sandbox, &runtime),
            None => report.note(format!("{language}: not built")),
        }
    }
}

fn measure(report: &mut Report, plan: Plan, language: &str, wasm: &[u8], sandbox: &Arc<Sandbox>, runtime: &Runtime) {
    let component = wasmpost_sandbox::component_of(wasm).unwrap();
    let pairs: AttributeList =
        ATTRIBUTES.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect();
    let raw = Raw::new(&best(), &component, pairs.clone());
    let fresh = receiver(sandbox, wasm, 1);
    let reused = receiver(sandbox, wasm, u32::MAX);
    let body = webhook();
    let message = message();
    let variants = vec![
        Variant::new(format!("{language}-raw-fresh"), "raw, fresh", |messages| {
            timed_on(runtime, async {
                for _ in 0..messages {
                    raw.call(&body).await;
                }
            })
        }),
        Variant::new(format!("{language}-fresh"), "wasmpost, fresh", |messages| {
            timed_on(runtime, receive(&fresh, &message, messages))
        }),
        Variant::new(format!("{language}-raw-reused"), "raw, reused", |messages| {
            let mut live = runtime.block_on(raw.live(&body));
            runtime.block_on(live.call(&pairs, &body));
            timed_on(runtime, async {
                for _ in 0..messages {
                    live.call(&pairs, &body).await;
                }
            })
        }),
        Variant::new(format!("{language}-reused"), "wasmpost, reused", |messages| {
            timed_on(runtime, receive(&reused, &message, messages))
        }),
    ];
    let rows = interleave(plan, variants);
    let ratios = match &rows[..] {
        [raw_fresh, fresh, raw_reused, reused] => {
            let pairs = [(fresh, raw_fresh), (reused, raw_reused), (reused, fresh)];
            pairs.map(|(own, base)| own.speed_of(base, By::Cpu))
        }
        _ => return report.group(language, By::Cpu, rows),
    };
    report.group(language, By::Cpu, rows);
    let [fresh, reused, gain] = ratios;
    report.note(format!("{language}: {fresh:.2} of raw fresh, {reused:.2} of raw reused; reused {gain:.1} × fresh"));
}

fn receiver(sandbox: &Arc<Sandbox>, wasm: &[u8], reuse: u32) -> WasmReceiver {
    let mut options = ReceiverOptions { reuse, ..ReceiverOptions::default() };
    options.limits.table_elements = TABLE_ELEMENTS;
    options.limits.memory = MEMORY.parse().unwrap();
    options.grants.publish.push("github.*".parse().unwrap());
    WasmReceiver::new(Arc::clone(sandbox), sandbox.load(wasm).unwrap(), options).unwrap()
}

async fn receive(receiver: &WasmReceiver, message: &(Attributes, Bytes), messages: usize) {
    for _ in 0..messages {
        let (attributes, body) = message.clone();
        receiver.receive(Message { attributes, body: body.into(), context: Context::default() }).await.unwrap();
    }
}

fn message() -> (Attributes, Bytes) {
    let mut attributes = Attributes::new();
    ATTRIBUTES.iter().for_each(|(name, value)| attributes.append(name, *value));
    (attributes, webhook())
}

/// An event as GitHub sends it, as long as the other bodies.
fn webhook() -> Bytes {
    let commit = |number: u32| {
        format!(
            r#"{{"id":"{number:040x}","message":"change {number}","author":{{"name":"octo"}},"added":["src/{number}.rs"],"distinct":true}}"#
        )
    };
    let commits: Vec<_> = (0..6).map(commit).collect();
    let text = format!(
        r#"{{"action":"opened","repository":{{"full_name":"octo/cat","id":7,"private":false}},"commits":[{}],"zen":""}}"#,
        commits.join(",")
    );
    let rest = crate::BODY_BYTES - text.len();
    text.replace(r#""zen":"""#, &format!(r#""zen":"{}""#, "z".repeat(rest))).into_bytes().into()
}
