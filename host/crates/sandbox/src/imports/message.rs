//! The resource `message`: the message that a guest is working on. A store has one.

use bytes::{Buf, Bytes};
use wasmtime::component::Resource;

use crate::bindings::wasmpost::messaging::types::{Host, HostMessage};
use crate::delivery::AttributeList;
use crate::state::StoreState;

/// Stands for the message of the store, which lies in its state.
#[allow(unreachable_pub)] // The generated bindings re-export it.
pub struct Incoming;

/// The handle to the message of a store.
pub(crate) fn handle() -> Resource<Incoming> {
    Resource::new_borrow(0)
}

impl Host for StoreState {}

impl HostMessage for StoreState {
    fn id(&mut self, _: Resource<Incoming>) -> wasmtime::Result<String> {
        Ok(self.delivery.context.id().to_owned())
    }

    fn attempt(&mut self, _: Resource<Incoming>) -> wasmtime::Result<u32> {
        Ok(self.delivery.context.attempt())
    }

    fn attributes(&mut self, _: Resource<Incoming>) -> wasmtime::Result<AttributeList> {
        Ok(self.delivery.attribute_list())
    }

    fn attribute(&mut self, _: Resource<Incoming>, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.delivery.attributes.get(&name).map(str::to_owned))
    }

    fn read(&mut self, _: Resource<Incoming>, max: u32) -> wasmtime::Result<Vec<u8>> {
        let bytes = self.body.remaining().min(max as usize);
        Ok(self.body.split_to(bytes).into())
    }

    fn body(&mut self, _: Resource<Incoming>) -> wasmtime::Result<Vec<u8>> {
        Ok(std::mem::take::<Bytes>(&mut self.body).into())
    }

    fn drop(&mut self, _: Resource<Incoming>) -> wasmtime::Result<()> {
        Ok(())
    }
}
