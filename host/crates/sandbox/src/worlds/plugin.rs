//! `wasmpost:messaging/plugin`: receivers that were written for this host.

use async_trait::async_trait;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use super::Entry;
use crate::guest::bindings::PluginIndices;
use crate::guest::bindings::wasmpost::messaging::types::Failure;
use crate::guest::{Incoming, StoreState};

struct Plugin(PluginIndices);

pub(super) fn bind(component: &InstancePre<StoreState>) -> wasmtime::Result<Box<dyn Entry>> {
    Ok(Box::new(Plugin(PluginIndices::new(component)?)))
}

#[async_trait]
impl Entry for Plugin {
    async fn call(&self, store: &mut Store<StoreState>, instance: &Instance) -> wasmtime::Result<Result<(), Failure>> {
        // Looking for the function compares its type, which takes longer than calling it.
        let plugin = match store.data_mut().plugin.take() {
            Some(plugin) => plugin,
            None => self.0.load(&mut *store, instance)?,
        };
        let message = Incoming::handle(store.data().number);
        let received = plugin.wasmpost_messaging_receiver().call_receive(&mut *store, message).await;
        store.data_mut().plugin = Some(plugin);
        received
    }
}
