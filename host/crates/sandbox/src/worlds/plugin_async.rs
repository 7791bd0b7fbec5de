//! `wasmpost:messaging/plugin-async`: asynchronous receivers that were written for this host.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use wasmtime::component::{
    Accessor, ComponentExportIndex, Destination, Instance, InstancePre, Resource, StreamProducer, StreamReader,
    StreamResult, TypedFunc, TypedFuncCallConcurrent, VecBuffer,
};
use wasmtime::{AsContextMut, Store, StoreContextMut};

use super::Entry;
use crate::guest::bindings::wasmpost::messaging::types::Failure;
use crate::guest::bindings_async::wasmpost::messaging::types_async::Failure as AsyncFailure;
use crate::guest::{Lent, StoreState};

pub(super) const EXPORT: &str = "wasmpost:messaging/receiver-async@0.1.0";

/// The index of the function that receives.
pub(crate) struct PluginAsync(ComponentExportIndex);

pub(crate) type Receive = TypedFunc<Given, Received>;
pub(crate) type Started = TypedFuncCallConcurrent<StoreState, Given, Received>;

type Given = (Resource<Lent>, StreamReader<u8>);
type Received = (Result<(), AsyncFailure>,);

pub(super) fn bind(component: &InstancePre<StoreState>) -> wasmtime::Result<Box<dyn Entry>> {
    let component = component.component();
    let interface = component.get_export_index(None, EXPORT);
    let receive = interface.and_then(|interface| component.get_export_index(Some(&interface), "receive"));
    let receive = receive.ok_or_else(|| wasmtime::Error::msg(format!("{EXPORT} has no function receive")))?;
    Ok(Box::new(PluginAsync(receive)))
}

impl PluginAsync {
    /// The function of an instance that receives.
    pub(crate) fn function(&self, store: impl AsContextMut, instance: &Instance) -> wasmtime::Result<Receive> {
        instance.get_typed_func(store, self.0)
    }

    /// Has an instance begin with a message beside those that it has.
    pub(crate) fn start(
        receive: &Receive,
        mut store: StoreContextMut<'_, StoreState>,
        number: u32,
        body: Bytes,
    ) -> wasmtime::Result<Started> {
        let body = StreamReader::new(&mut store, Chunks(body))?;
        receive.start_call_concurrent(store, (Lent::handle(number), body))
    }

    /// Waits until it is done with it.
    pub(crate) async fn finish(
        receive: &Receive,
        accessor: &Accessor<StoreState>,
        started: Started,
    ) -> wasmtime::Result<Result<(), Failure>> {
        let (received,) = receive.finish_call_concurrent(accessor, started).await?;
        Ok(received.map_err(Failure::from))
    }
}

#[async_trait]
impl Entry for PluginAsync {
    /// Tasks that a message left running would go on with the next one.
    fn together(self: Arc<Self>) -> Option<Arc<PluginAsync>> {
        Some(self)
    }

    async fn call(&self, store: &mut Store<StoreState>, instance: &Instance) -> wasmtime::Result<Result<(), Failure>> {
        let receive = self.function(&mut *store, instance)?;
        let state = store.data_mut();
        let message = Lent::handle(state.number);
        let body = std::mem::take(&mut state.body);
        let body = StreamReader::new(&mut *store, Chunks(body))?;
        let (received,) = receive.call_async(&mut *store, (message, body)).await?;
        Ok(received.map_err(Failure::from))
    }
}

/// A body, written into the memory of the guest as the guest has room for it.
struct Chunks(Bytes);

impl StreamProducer<StoreState> for Chunks {
    type Item = u8;
    type Buffer = VecBuffer<u8>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'a, StoreState>,
        destination: Destination<'a, u8, VecBuffer<u8>>,
        _: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let Self(left) = self.get_mut();
        let mut destination = destination.as_direct(store, 0);
        let room = destination.remaining();
        let bytes = room.len().min(left.len());
        left.copy_to_slice(room.get_mut(..bytes).unwrap_or_default());
        destination.mark_written(bytes);
        Poll::Ready(Ok(if left.is_empty() { StreamResult::Dropped } else { StreamResult::Completed }))
    }
}
