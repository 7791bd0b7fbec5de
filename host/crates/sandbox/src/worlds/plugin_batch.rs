//! `wasmpost:messaging/batch-plugin`: receivers that were written for this host and get several messages in one call.

use async_trait::async_trait;
use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, Instance, InstancePre};

use super::Entry;
use crate::guest::bindings::wasmpost::messaging::types::Failure;
use crate::guest::{Incoming, ReceiveBatch, StoreState};

pub(super) const EXPORT: &str = "wasmpost:messaging/receiver-batch@0.1.0";

/// The index of the function that receives.
struct PluginBatch(ComponentExportIndex);

pub(super) fn bind(component: &InstancePre<StoreState>) -> wasmtime::Result<Box<dyn Entry>> {
    let component = component.component();
    let interface = component.get_export_index(None, EXPORT);
    let receive = interface.and_then(|interface| component.get_export_index(Some(&interface), "receive-batch"));
    let receive = receive.ok_or_else(|| wasmtime::Error::msg(format!("{EXPORT} has no function receive-batch")))?;
    Ok(Box::new(PluginBatch(receive)))
}

impl PluginBatch {
    /// The function of an instance. Looking for it compares its type, which is done once for an instance.
    fn function(&self, store: &mut Store<StoreState>, instance: &Instance) -> wasmtime::Result<ReceiveBatch> {
        if let Some(receive) = store.data().receive_batch {
            return Ok(receive);
        }
        let receive = instance.get_typed_func(&mut *store, self.0)?;
        store.data_mut().receive_batch = Some(receive);
        Ok(receive)
    }
}

#[async_trait]
impl Entry for PluginBatch {
    async fn call_batch(
        &self,
        store: &mut Store<StoreState>,
        instance: &Instance,
        first: u32,
        count: u32,
    ) -> wasmtime::Result<Vec<Result<(), Failure>>> {
        let receive = self.function(store, instance)?;
        let messages = (0..count).map(|place| Incoming::handle_of_several(first.wrapping_add(place))).collect();
        let (results,) = receive.call_async(&mut *store, (messages,)).await?;
        Ok(results)
    }

    async fn call(&self, _: &mut Store<StoreState>, _: &Instance) -> wasmtime::Result<Result<(), Failure>> {
        Err(wasmtime::Error::msg("world takes its messages in batches"))
    }
}
