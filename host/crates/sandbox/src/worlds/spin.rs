//! `fermyon:spin/inbound-redis`: components that were written for the Redis trigger of Spin.

use async_trait::async_trait;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use super::Entry;
use crate::guest::StoreState;
use crate::guest::bindings::wasmpost::messaging::types::Failure;

#[allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used, clippy::indexing_slicing)] // Generated.
mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/spin",
        world: "fermyon:spin/redis-trigger",
        exports: { default: async },
    });
}

struct InboundRedis(bindings::RedisTriggerIndices);

pub(super) fn bind(component: &InstancePre<StoreState>) -> wasmtime::Result<Box<dyn Entry>> {
    Ok(Box::new(InboundRedis(bindings::RedisTriggerIndices::new(component)?)))
}

#[async_trait]
impl Entry for InboundRedis {
    async fn call(&self, store: &mut Store<StoreState>, instance: &Instance) -> wasmtime::Result<Result<(), Failure>> {
        let trigger = self.0.load(&mut *store, instance)?;
        let payload = Vec::from(std::mem::take(&mut store.data_mut().body));
        let handled = trigger.fermyon_spin_inbound_redis().call_handle_message(&mut *store, &payload).await?;
        // The interface has no word for why.
        Ok(handled.map_err(|error| Failure::Retry(format!("handle-message returned {error}"))))
    }
}
