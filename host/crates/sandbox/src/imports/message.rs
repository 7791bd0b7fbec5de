//! The resource `message`: a message that a guest is working on, and what is published in answer to it.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};

use super::topic::{GivenAttributes, taken};
use crate::guest::bindings::wasmpost::messaging::types::{Host, HostMessage};
use crate::guest::{AttributeList, Incoming, LentWriter, Member, Published, StoreState};

const INTERFACE: &str = "wasmpost:messaging/types@0.1.0";

type Store<'a> = StoreContextMut<'a, StoreState>;

/// Hands out the body by functions that copy it into the memory of the guest and nowhere else. Those that are generated
/// hand out vectors, for which a body that others have as well is copied once more.
pub(super) fn add_body_to_linker(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(INTERFACE)?;
    types.func_wrap("[method]message.body", |mut store: Store<'_>, (message,): (Resource<Incoming>,)| {
        Ok((store.data_mut().read_body(&message, u32::MAX)?,))
    })?;
    types.func_wrap("[method]message.read", |mut store: Store<'_>, (message, max): (Resource<Incoming>, u32)| {
        Ok((store.data_mut().read_body(&message, max)?,))
    })?;
    // Generated bindings take a list in whole before its length can be checked.
    type Given = (Resource<Incoming>, String, GivenAttributes, Vec<u8>);
    let publish = |mut store: Store<'_>, (message, topic, attributes, body): Given| {
        let work = Arc::clone(&store.data_mut().lent(message.rep())?.work);
        let attributes = taken(&mut store, &work, &attributes)?;
        Ok((HostMessage::publish(store.data_mut(), message, topic, attributes, body)?,))
    };
    types.func_wrap("[method]message.publish", publish)?;
    linker.allow_shadowing(false);
    Ok(())
}

impl StoreState {
    /// The next bytes of a body, at most so many.
    fn read_body(&mut self, message: &Resource<Incoming>, max: u32) -> wasmtime::Result<Bytes> {
        let number = message.rep();
        let (body, delivery) = if number == self.number {
            (&mut self.body, &self.delivery)
        } else {
            let member = self.members.find(number);
            let Member { delivery, body } =
                member.ok_or_else(|| wasmtime::Error::msg("the message is not lent any more"))?;
            (body, &*delivery)
        };
        let bytes = body.len().min(max as usize);
        delivery.work.call(bytes);
        Ok(body.split_to(bytes))
    }
}

impl Host for StoreState {}

impl HostMessage for StoreState {
    fn id(&mut self, message: Resource<Incoming>) -> wasmtime::Result<String> {
        Ok(self.lent(message.rep())?.id())
    }

    fn attempt(&mut self, message: Resource<Incoming>) -> wasmtime::Result<u32> {
        Ok(self.lent(message.rep())?.attempt())
    }

    fn attributes(&mut self, message: Resource<Incoming>) -> wasmtime::Result<AttributeList> {
        Ok(self.lent(message.rep())?.attribute_list())
    }

    fn attribute(&mut self, message: Resource<Incoming>, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.lent(message.rep())?.attribute(&name))
    }

    fn read(&mut self, message: Resource<Incoming>, max: u32) -> wasmtime::Result<Vec<u8>> {
        Ok(self.read_body(&message, max)?.into())
    }

    fn body(&mut self, message: Resource<Incoming>) -> wasmtime::Result<Vec<u8>> {
        Ok(self.read_body(&message, u32::MAX)?.into())
    }

    fn new_writer(
        &mut self,
        message: Resource<Incoming>,
        topic: String,
    ) -> wasmtime::Result<Published<Resource<LentWriter>>> {
        let number = message.rep();
        let writer = self.lent(number)?.new_writer(&topic);
        match self.unless_flooded(number, writer)? {
            Ok(writer) => Ok(Ok(self.table.push(LentWriter { writer, number })?)),
            Err(refused) => Ok(Err(refused)),
        }
    }

    fn publish(
        &mut self,
        message: Resource<Incoming>,
        topic: String,
        attributes: AttributeList,
        body: Vec<u8>,
    ) -> wasmtime::Result<Published> {
        let number = message.rep();
        let published = self.lent(number)?.publish_now(&topic, attributes, body);
        self.unless_flooded(number, published)
    }

    fn drop(&mut self, _: Resource<Incoming>) -> wasmtime::Result<()> {
        self.members.drop_handle();
        Ok(())
    }
}
