//! The raw wasmtime loop, the receiver, and the host on the queue in memory, on one component.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmpost_delivery::memory::{MemoryBroker, MemoryOptions};
use wasmpost_delivery::{Broker, QueueServer, QueueServerOptions, QueueSpec};
use wasmpost_msg::{Attributes, Context, Message, Publication, Receiver, Server};
use wasmpost_sandbox::{EngineOptions, ReceiverOptions, Sandbox, WasmReceiver};
use wasmpost_tests::guest;
use wasmtime::component::{Component, Linker, Resource};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

use crate::{BODY_BYTES, Rounds};

const ROUNDS: usize = 15;
const MESSAGES: usize = 4000;

mod raw {
    //! The same contract, implemented with as little as it takes.
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "wasmpost:messaging/plugin",
        imports: { default: trappable },
        exports: { default: async },
        with: { "wasmpost:messaging/types.message": super::Incoming, "wasmpost:messaging/topic.message-writer": super::Never },
    });
}

#[allow(unreachable_pub)] // The generated bindings re-export it.
pub struct Incoming;

/// No guest here publishes.
#[allow(unreachable_pub, dead_code)] // The same; never made.
pub enum Never {}

struct State {
    body: Vec<u8>,
}

impl raw::wasmpost::messaging::types::Host for State {}

impl raw::wasmpost::messaging::types::HostMessage for State {
    fn id(&mut self, _: Resource<Incoming>) -> wasmtime::Result<String> {
        Ok("id".into())
    }

    fn attempt(&mut self, _: Resource<Incoming>) -> wasmtime::Result<u32> {
        Ok(1)
    }

    fn attributes(&mut self, _: Resource<Incoming>) -> wasmtime::Result<Vec<(String, Vec<String>)>> {
        Ok(Vec::new())
    }

    fn attribute(&mut self, _: Resource<Incoming>, _: String) -> wasmtime::Result<Option<String>> {
        Ok(None)
    }

    fn read(&mut self, _: Resource<Incoming>, max: u32) -> wasmtime::Result<Vec<u8>> {
        let rest = self.body.split_off(self.body.len().min(max as usize));
        Ok(std::mem::replace(&mut self.body, rest))
    }

    fn body(&mut self, _: Resource<Incoming>) -> wasmtime::Result<Vec<u8>> {
        Ok(std::mem::take(&mut self.body))
    }

    fn drop(&mut self, _: Resource<Incoming>) -> wasmtime::Result<()> {
        Ok(())
    }
}

/// What a user of wasmtime would write who knows its fast settings: a pool, instances prepared once, no limits.
struct Raw {
    engine: Engine,
    plugin: raw::PluginPre<State>,
}

impl Raw {
    fn new(wasm: &[u8]) -> Self {
        let mut pool = PoolingAllocationConfig::new();
        pool.pagemap_scan(Enabled::Auto).linear_memory_keep_resident(4 << 20).table_keep_resident(64 << 10);
        pool.total_memories(64).total_component_instances(64).total_stacks(64).max_memory_size(256 << 20);
        let mut config = Config::new();
        config.concurrency_support(false).wasm_component_model_async(false);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config).unwrap();
        let component = Component::from_binary(&engine, wasm).unwrap();
        let mut linker = Linker::new(&engine);
        raw::wasmpost::messaging::types::add_to_linker::<_, wasmtime::component::HasSelf<_>>(&mut linker, |state| {
            state
        })
        .unwrap();
        let plugin = raw::PluginPre::new(linker.instantiate_pre(&component).unwrap()).unwrap();
        Self { engine, plugin }
    }

    async fn call(&self, body: &[u8]) {
        let mut store = Store::new(&self.engine, State { body: body.to_vec() });
        let plugin = self.plugin.instantiate_async(&mut store).await.unwrap();
        let receiver = plugin.wasmpost_messaging_receiver();
        receiver.call_receive(&mut store, Resource::new_borrow(0)).await.unwrap().unwrap();
    }
}

struct Hosted {
    sandbox: Arc<Sandbox>,
    wasm: Vec<u8>,
}

impl Hosted {
    fn receiver(&self) -> WasmReceiver {
        let loaded = self.sandbox.load(&self.wasm).unwrap();
        WasmReceiver::new(Arc::clone(&self.sandbox), loaded, ReceiverOptions::default()).unwrap()
    }
}

fn publications(body: &[u8]) -> Vec<Publication> {
    (0..MESSAGES).map(|_| Publication::new("bench", Attributes::new(), body.to_vec())).collect()
}

/// From a full queue to an empty one.
async fn drain(receiver: Arc<WasmReceiver>, body: &[u8], concurrency: usize) -> Duration {
    let broker = MemoryBroker::new(MemoryOptions::default());
    let queue = broker.queue(QueueSpec::new("bench")).await.unwrap();
    broker.publish(publications(body)).await.unwrap();
    let options = QueueServerOptions { concurrency, ..QueueServerOptions::default() };
    let server = Arc::new(QueueServer::new(Arc::clone(&queue), options));
    let began = Instant::now();
    let serving = tokio::spawn({
        let server = Arc::clone(&server);
        async move { server.serve(receiver).await }
    });
    queue.drained().await.unwrap();
    let took = began.elapsed();
    server.shutdown(Duration::from_secs(5)).await.unwrap();
    serving.await.unwrap().unwrap();
    took
}

/// Components as wasmpost loads them: the raw loop gets what the loader makes of a core module.
fn component(name: &str) -> Vec<u8> {
    let bytes = std::fs::read(guest(name)).unwrap();
    wasmpost_sandbox::component_of(&bytes).unwrap()
}

pub(crate) fn run() {
    let body = vec![b'x'; BODY_BYTES];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sandbox = Sandbox::new(EngineOptions::default()).unwrap();
    for (name, what) in [("noop", "body not read"), ("reader", "body read in pieces of 4 KiB")] {
        let wasm = component(name);
        let raw = Raw::new(&wasm);
        let hosted = Hosted { sandbox: Arc::clone(&sandbox), wasm };
        let receiver = Arc::new(hosted.receiver());
        let (mut loops, mut receives, mut hosts) = (Rounds::default(), Rounds::default(), Rounds::default());
        for round in 0..=ROUNDS {
            let (looped, received, served) = runtime.block_on(async {
                let began = Instant::now();
                for _ in 0..MESSAGES {
                    raw.call(&body).await;
                }
                let looped = began.elapsed();
                let began = Instant::now();
                for _ in 0..MESSAGES {
                    let context = Context::default();
                    let message = Message { attributes: Attributes::new(), body: body.clone().into(), context };
                    receiver.receive(message).await.unwrap();
                }
                let received = began.elapsed();
                (looped, received, drain(Arc::clone(&receiver), &body, 16).await)
            });
            // The first round warms up.
            if round > 0 {
                loops.add(looped, MESSAGES);
                receives.add(received, MESSAGES);
                hosts.add(served, MESSAGES);
            }
        }
        println!("component {name}, {what}, one thread, a fresh instance each:");
        loops.print("  raw wasmtime loop, no limits", &loops);
        receives.print("  receiver with all limits", &loops);
        hosts.print("  host: queue in memory, receiver, ack", &loops);
        println!();
    }
}
