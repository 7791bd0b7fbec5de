//! The cost of limits, and of a trap.

use wasmpost_msg::{Context, Message, Receiver};
use wasmpost_sandbox::Profile;

use crate::measure::{By, Plan, Variant, interleave, timed_on};
use crate::raw::{Raw, best};
use crate::report::Report;
use crate::work::{attribute_list, attributes, component, receiver, sandbox};

pub(crate) fn run(report: &mut Report, plan: Plan) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let body = bytes::Bytes::from(vec![b'x'; crate::BODY_BYTES]);
    let sandbox = sandbox(Profile::Guard);
    let noop = component("noop");
    let mut variants = Vec::new();
    for (id, name, raw) in [
        ("limits-none", "raw wasmtime loop, no limits", Raw::new(&best(), &noop, attribute_list())),
        (
            "limits-all",
            "the same with epochs, a limiter of memory and a deadline",
            Raw::limited(&noop, attribute_list()),
        ),
    ] {
        let runtime = &runtime;
        let body = &body;
        variants.push(Variant::new(id, name, move |messages| {
            timed_on(runtime, async {
                for _ in 0..messages {
                    raw.call(body).await;
                }
            })
        }));
    }
    for (id, name, wasm) in [
        ("limits-ok", "receiver, a message that is ok", &noop),
        ("limits-trap", "receiver, a message that traps at once", &component("unreachable")),
        ("limits-panic", "receiver, a guest that publishes, then panics", &component("trapping")),
    ] {
        let receiver = receiver(&sandbox, wasm, 1);
        let runtime = &runtime;
        let body = &body;
        let attributes = attributes();
        variants.push(Variant::new(id, name, move |messages| {
            timed_on(runtime, async {
                for _ in 0..messages {
                    let message = Message {
                        attributes: attributes.clone(),
                        body: body.clone().into(),
                        context: Context::default(),
                    };
                    assert_eq!(receiver.receive(message).await.is_ok(), id == "limits-ok");
                }
            })
        }));
    }
    let rows = interleave(plan, variants);
    report.group("limits and traps, body of 1 KiB not read, fresh, one thread", By::Cpu, rows);
}
