//! Wasmtime alone with the same contract, implemented with as little as it takes: what the host is measured against.

use bytes::Bytes;
use wasmtime::component::{Component, HasSelf, Linker, Resource, ResourceTable};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store, StoreContextMut, StoreLimits,
};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

mod bindings {
    //! Bindings that are generated from the contract.
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "wasmpost:messaging/plugin",
        imports: { default: trappable },
        exports: { default: async },
        with: {
            "wasmpost:messaging/types.message": super::Incoming,
            "wasmpost:messaging/types.message-writer": super::Writer,
        },
    });
}

use bindings::wasi::logging::logging::Level;
use bindings::wasmpost::messaging::topic::PublishError;

/// Attributes as guests see them.
pub(crate) type AttributeList = Vec<(String, Vec<String>)>;
type Published<T = ()> = wasmtime::Result<Result<T, PublishError>>;

#[allow(unreachable_pub)] // The generated bindings re-export it.
pub struct Incoming;

#[allow(unreachable_pub)] // The same.
pub struct Writer(Vec<u8>);

pub(crate) struct State {
    attributes: AttributeList,
    body: Bytes,
    table: ResourceTable,
    /// Made when a guest first asks for it: few of them do.
    wasi: Option<WasiCtx>,
    limits: StoreLimits,
}

/// The code that a user of wasmtime would write.
pub(crate) struct Raw {
    engine: Engine,
    plugin: bindings::PluginPre<State>,
    attributes: AttributeList,
    is_limited: bool,
}

/// An instance that has one message after the other.
pub(crate) struct Live {
    store: Store<State>,
    plugin: bindings::Plugin,
}

/// The fast settings: a pool, instances prepared once, no limits.
pub(crate) fn best() -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.table_keep_resident(64 << 10);
    if wasmpost_sandbox::is_change_told() {
        pool.pagemap_scan(Enabled::Yes).linear_memory_keep_resident(4 << 20);
    }
    pool.total_memories(64).total_component_instances(64).total_stacks(64).max_memory_size(256 << 20);
    // The runtimes of some languages are large.
    pool.total_core_instances(256).max_core_instance_size(4 << 20).max_component_instance_size(4 << 20);
    pool.table_elements(200_000).total_tables(256).max_tables_per_module(16).total_gc_heaps(0).decommit_batch_size(1);
    let mut config = Config::new();
    config.concurrency_support(false).wasm_component_model_async(false);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

impl Raw {
    pub(crate) fn new(config: &Config, wasm: &[u8], attributes: AttributeList) -> Self {
        let engine = Engine::new(config).unwrap();
        wasmpost_sandbox::map_zeroes(&engine, 64, 256 << 20).unwrap();
        let component = Component::from_binary(&engine, wasm).unwrap();
        let mut linker = Linker::new(&engine);
        bindings::Plugin::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state).unwrap();
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        lower_bodies(&mut linker);
        let plugin = bindings::PluginPre::new(linker.instantiate_pre(&component).unwrap()).unwrap();
        Self { engine, plugin, attributes, is_limited: false }
    }

    /// The same with what keeps a guest in bounds.
    pub(crate) fn limited(wasm: &[u8], attributes: AttributeList) -> Self {
        let mut config = best();
        config.epoch_interruption(true);
        Self { is_limited: true, ..Self::new(&config, wasm, attributes) }
    }

    /// A fresh instance for one message.
    pub(crate) async fn call(&self, body: &Bytes) {
        self.live(body).await.answer().await;
    }

    /// An instance for more than one, of which none was handled yet.
    pub(crate) async fn live(&self, body: &Bytes) -> Live {
        let attributes = self.attributes.clone();
        let table = ResourceTable::new();
        let mut store = Store::new(
            &self.engine,
            State { attributes, body: body.clone(), table, wasi: None, limits: StoreLimits::default() },
        );
        if self.is_limited {
            store.limiter(|state| &mut state.limits);
            store.set_epoch_deadline(1 << 20);
            store.epoch_deadline_async_yield_and_update(1);
        }
        let plugin = self.plugin.instantiate_async(&mut store).await.unwrap();
        Live { store, plugin }
    }
}

/// Has bodies copied into the memory of the guest and nowhere else, for which what is generated has no word.
fn lower_bodies(linker: &mut Linker<State>) {
    linker.allow_shadowing(true);
    let mut types = linker.instance("wasmpost:messaging/types@0.1.0").unwrap();
    let body = |mut store: StoreContextMut<'_, State>, (_,): (Resource<Incoming>,)| {
        Ok((std::mem::take(&mut store.data_mut().body),))
    };
    types.func_wrap("[method]message.body", body).unwrap();
    let read =
        |mut store: StoreContextMut<'_, State>, (_, max): (Resource<Incoming>, u32)| Ok((store.data_mut().piece(max),));
    types.func_wrap("[method]message.read", read).unwrap();
}

impl State {
    fn piece(&mut self, max: u32) -> Bytes {
        self.body.split_to(self.body.len().min(max as usize))
    }
}

impl Live {
    /// Another message.
    pub(crate) async fn call(&mut self, attributes: &AttributeList, body: &Bytes) {
        self.store.data_mut().attributes = attributes.clone();
        self.store.data_mut().body = body.clone();
        self.answer().await;
    }

    async fn answer(&mut self) {
        let receiver = self.plugin.wasmpost_messaging_receiver();
        receiver.call_receive(&mut self.store, Resource::new_borrow(0)).await.unwrap().unwrap();
    }
}

impl bindings::wasmpost::messaging::types::Host for State {}

impl bindings::wasmpost::messaging::types::HostMessage for State {
    fn id(&mut self, _: Resource<Incoming>) -> wasmtime::Result<String> {
        Ok("0198f2c4-5b1e-7c3a-9d9f-0c6f1a2b3c4d".into())
    }

    fn attempt(&mut self, _: Resource<Incoming>) -> wasmtime::Result<u32> {
        Ok(1)
    }

    fn attributes(&mut self, _: Resource<Incoming>) -> wasmtime::Result<AttributeList> {
        Ok(self.attributes.clone())
    }

    fn attribute(&mut self, _: Resource<Incoming>, name: String) -> wasmtime::Result<Option<String>> {
        let found = self.attributes.iter().find(|(own, _)| *own == name);
        Ok(found.and_then(|(_, values)| values.first().cloned()))
    }

    fn read(&mut self, _: Resource<Incoming>, max: u32) -> wasmtime::Result<Vec<u8>> {
        Ok(self.piece(max).into())
    }

    fn body(&mut self, _: Resource<Incoming>) -> wasmtime::Result<Vec<u8>> {
        Ok(std::mem::take(&mut self.body).into())
    }

    fn new_writer(&mut self, _: Resource<Incoming>, topic: String) -> Published<Resource<Writer>> {
        bindings::wasmpost::messaging::topic::Host::new_writer(self, topic)
    }

    fn publish(&mut self, _: Resource<Incoming>, _: String, attributes: AttributeList, body: Vec<u8>) -> Published {
        drop((attributes, body));
        Ok(Ok(()))
    }

    fn drop(&mut self, _: Resource<Incoming>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl bindings::wasmpost::messaging::topic::Host for State {
    fn new_writer(&mut self, _: String) -> Published<Resource<Writer>> {
        Ok(Ok(self.table.push(Writer(Vec::new()))?))
    }

    fn publish(&mut self, _: String, attributes: AttributeList, body: Vec<u8>) -> Published {
        drop((attributes, body));
        Ok(Ok(()))
    }
}

impl bindings::wasmpost::messaging::types::HostMessageWriter for State {
    fn set_attribute(&mut self, _: Resource<Writer>, _: String, _: String) -> Published {
        Ok(Ok(()))
    }

    fn append_attribute(&mut self, _: Resource<Writer>, _: String, _: String) -> Published {
        Ok(Ok(()))
    }

    fn set_delay(&mut self, _: Resource<Writer>, _: u64) -> wasmtime::Result<()> {
        Ok(())
    }

    fn write(&mut self, writer: Resource<Writer>, chunk: Vec<u8>) -> Published {
        self.table.get_mut(&writer)?.0.extend_from_slice(&chunk);
        Ok(Ok(()))
    }

    fn close(&mut self, writer: Resource<Writer>) -> Published {
        self.table.get_mut(&writer)?.0.clear();
        Ok(Ok(()))
    }

    fn drop(&mut self, writer: Resource<Writer>) -> wasmtime::Result<()> {
        self.table.delete(writer)?;
        Ok(())
    }
}

impl bindings::wasi::logging::logging::Host for State {
    fn log(&mut self, _: Level, _: String, _: String) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl bindings::wasi::config::store::Host for State {
    fn get(&mut self, _: String) -> wasmtime::Result<Result<Option<String>, bindings::wasi::config::store::Error>> {
        Ok(Ok(None))
    }

    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, bindings::wasi::config::store::Error>> {
        Ok(Ok(Vec::new()))
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let ctx = self.wasi.get_or_insert_with(|| WasiCtxBuilder::new().build());
        WasiCtxView { ctx, table: &mut self.table }
    }
}
