//! Many tenants in turn, each with a component of its own, and many receivers of one host.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmpost::config::Config;
use wasmpost::host::Host;
use wasmpost_delivery::Broker;
use wasmpost_msg::{Attributes, Context, Message, Publication, Receiver};
use wasmpost_sandbox::{Profile, Sandbox, WasmReceiver};
use wasmpost_tests::guest;

use crate::measure::{By, Plan, Sample, Variant, interleave, process_cpu, timed_on};
use crate::report::Report;
use crate::work::{attributes, component, receiver, sandbox};

pub(crate) const TENANTS: &[usize] = &[1, 10, 100, 500];
const RECEIVERS: &[usize] = &[1, 10, 100, 1000];
/// Messages for all receivers of a host together.
const MESSAGES: usize = 4000;

/// A component that differs from others of the same work in its content, as those of different tenants do.
pub(crate) fn distinct(original: &[u8], number: u64) -> Vec<u8> {
    let mut component = original.to_vec();
    component.extend_from_slice(&[0, 10, 1, b'n']);
    component.extend_from_slice(&number.to_le_bytes());
    component
}

pub(crate) fn run(report: &mut Report, plan: Plan) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let guard = sandbox(Profile::Guard);
    let bounds = sandbox(Profile::Bounds);
    let wasm = component("checksum");
    let body = bytes::Bytes::from(vec![b'x'; crate::BODY_BYTES]);
    let most = *TENANTS.last().unwrap();
    let receivers = |sandbox: &Arc<Sandbox>, reuse| -> Vec<Arc<WasmReceiver>> {
        (0..most as u64).map(|number| receiver(sandbox, &distinct(&wasm, number), reuse)).collect()
    };
    let all =
        [("guard", receivers(&guard, 1)), ("bounds", receivers(&bounds, 1)), ("reused", receivers(&guard, u32::MAX))];
    let mut variants = Vec::new();
    for (how, receivers) in &all {
        for tenants in TENANTS {
            let runtime = &runtime;
            let body = &body;
            let attributes = attributes();
            variants.push(Variant::new(
                format!("tenants-{how}-{tenants}"),
                format!("{how}, {tenants} tenants"),
                move |messages| {
                    timed_on(runtime, async {
                        for receiver in receivers.iter().take(*tenants).cycle().take(messages) {
                            let message = Message {
                                attributes: attributes.clone(),
                                body: body.clone().into(),
                                context: Context::default(),
                            };
                            receiver.receive(message).await.unwrap();
                        }
                    })
                },
            ));
        }
    }
    let rows = interleave(plan, variants);
    report.group("tenants in turn, each with its own component: checksum of 1 KiB, one thread", By::Cpu, rows);
    drop(all);
    many_receivers(report, plan);
}

/// One message after the other, for one receiver or for many.
fn many_receivers(report: &mut Report, plan: Plan) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let variants = RECEIVERS.iter().map(|receivers| {
        let runtime = &runtime;
        let name = format!("whole host, queues in memory, {receivers} receivers");
        Variant::new(format!("receivers-{receivers}"), name, move |_| runtime.block_on(host(*receivers))).at_most(1)
    });
    let mut rows = interleave(Plan { per_round: Duration::from_millis(1), ..plan }, variants.collect());
    for row in &mut rows {
        row.wall.iter_mut().chain(&mut row.cpu).for_each(|time| *time /= MESSAGES as f64);
    }
    report.group(
        &format!("{MESSAGES} messages for all receivers of a host together, body of 1 KiB not read"),
        By::Cpu,
        rows,
    );
}

async fn host(receivers: usize) -> Sample {
    let cache = wasmpost_tests::target().join("bench-cache");
    let mut text = format!("[brokers]\ndefault = \"memory:\"\n[host]\ncache_dir = {cache:?}\n");
    for number in 0..receivers {
        text.push_str(&format!("[[receivers]]\nqueue = \"q{number}\"\ncomponent = {:?}\n", guest("noop")));
    }
    let config = Config::parse(&text, std::path::Path::new("wasmpost.toml")).unwrap();
    let host = Host::start(config).await.unwrap();
    let broker = host.broker("default").unwrap();
    let began = Instant::now();
    let cpu = process_cpu();
    publish(&*broker, receivers).await;
    host.drained().await.unwrap();
    let sample = Sample { wall: began.elapsed(), cpu: process_cpu() - cpu };
    host.stop().await.unwrap();
    sample
}

async fn publish(broker: &dyn Broker, receivers: usize) {
    let body = bytes::Bytes::from(vec![b'x'; crate::BODY_BYTES]);
    let publication =
        |number: &usize| Publication::new(format!("q{}", number % receivers), Attributes::new(), body.clone());
    for batch in (0..MESSAGES).collect::<Vec<_>>().chunks(500) {
        broker.publish(batch.iter().map(publication).collect()).await.unwrap();
    }
}
