//! Components that were written for the Redis trigger of Spin: `fermyon:spin/inbound-redis`, and
//! `spin:redis/inbound-redis@3.0.0`, which is asynchronous.

use async_trait::async_trait;
use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, ComponentType, Instance, InstancePre, Lift};

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

/// The interface of version 3.
pub(super) const EXPORT_ASYNC: &str = "spin:redis/inbound-redis@3.0.0";

struct InboundRedis(bindings::RedisTriggerIndices);

/// The index of the function that receives in version 3.
struct InboundRedisAsync(ComponentExportIndex);

/// The error of a handler of version 3.
#[derive(ComponentType, Lift)]
#[component(variant)]
enum RedisError {
    #[component(name = "invalid-address")]
    InvalidAddress,
    #[component(name = "too-many-connections")]
    TooManyConnections,
    #[component(name = "type-error")]
    TypeError,
    #[component(name = "other")]
    Other(String),
}

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

pub(super) fn bind_async(component: &InstancePre<StoreState>) -> wasmtime::Result<Box<dyn Entry>> {
    let component = component.component();
    let interface = component.get_export_index(None, EXPORT_ASYNC);
    let handle = interface.and_then(|interface| component.get_export_index(Some(&interface), "handle-message"));
    let handle =
        handle.ok_or_else(|| wasmtime::Error::msg(format!("{EXPORT_ASYNC} has no function handle-message")))?;
    Ok(Box::new(InboundRedisAsync(handle)))
}

#[async_trait]
impl Entry for InboundRedisAsync {
    async fn call(&self, store: &mut Store<StoreState>, instance: &Instance) -> wasmtime::Result<Result<(), Failure>> {
        let handle = instance.get_typed_func::<(Vec<u8>,), (Result<(), RedisError>,)>(&mut *store, self.0)?;
        let payload = Vec::from(std::mem::take(&mut store.data_mut().body));
        let (handled,) = handle.call_async(&mut *store, (payload,)).await?;
        Ok(handled.map_err(|error| {
            Failure::Retry(match error {
                RedisError::InvalidAddress => "handle-message returned invalid-address".to_owned(),
                RedisError::TooManyConnections => "handle-message returned too-many-connections".to_owned(),
                RedisError::TypeError => "handle-message returned type-error".to_owned(),
                RedisError::Other(text) => text,
            })
        }))
    }
}
