//! The resource `message`: the message that a guest is working on. A store has one.

use bytes::Bytes;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};

use crate::guest::bindings::wasmpost::messaging::types::{Host, HostMessage};
use crate::guest::{AttributeList, Incoming, StoreState};

const INTERFACE: &str = "wasmpost:messaging/types@0.1.0";

type Store<'a> = StoreContextMut<'a, StoreState>;

/// Hands out the body by functions that copy it into the memory of the guest and nowhere else. Those that are generated
/// hand out vectors, for which a body that others have as well is copied once more.
pub(super) fn add_body_to_linker(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(INTERFACE)?;
    types.func_wrap("[method]message.body", |mut store: Store<'_>, (_,): (Resource<Incoming>,)| {
        Ok((store.data_mut().read_body(u32::MAX),))
    })?;
    types.func_wrap("[method]message.read", |mut store: Store<'_>, (_, max): (Resource<Incoming>, u32)| {
        Ok((store.data_mut().read_body(max),))
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

impl StoreState {
    /// The next bytes of the body, at most so many.
    fn read_body(&mut self, max: u32) -> Bytes {
        let bytes = self.body.len().min(max as usize);
        self.delivery.work.call(bytes);
        self.body.split_to(bytes)
    }
}

impl Host for StoreState {}

impl HostMessage for StoreState {
    fn id(&mut self, _: Resource<Incoming>) -> wasmtime::Result<String> {
        Ok(self.delivery.id())
    }

    fn attempt(&mut self, _: Resource<Incoming>) -> wasmtime::Result<u32> {
        Ok(self.delivery.attempt())
    }

    fn attributes(&mut self, _: Resource<Incoming>) -> wasmtime::Result<AttributeList> {
        Ok(self.delivery.attribute_list())
    }

    fn attribute(&mut self, _: Resource<Incoming>, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.delivery.attribute(&name))
    }

    fn read(&mut self, _: Resource<Incoming>, max: u32) -> wasmtime::Result<Vec<u8>> {
        Ok(self.read_body(max).into())
    }

    fn body(&mut self, _: Resource<Incoming>) -> wasmtime::Result<Vec<u8>> {
        Ok(self.read_body(u32::MAX).into())
    }

    fn drop(&mut self, _: Resource<Incoming>) -> wasmtime::Result<()> {
        Ok(())
    }
}
