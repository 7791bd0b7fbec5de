//! Publishing: what a guest may write, within its grants and limits, goes to the outbox of its delivery.

use std::sync::Arc;

use wasmpost_msg::{ATTRIBUTE_VALUES_MAX, ATTRIBUTES_BYTES_MAX};
use wasmtime::component::{Linker, Resource, ResourceType, WasmList};
use wasmtime::{AsContextMut, StoreContextMut};

use crate::guest::bindings::wasmpost::messaging::topic::Host;
use crate::guest::bindings::wasmpost::messaging::types::HostMessageWriter;
use crate::guest::{AttributeList, LentWriter, Published, StoreState, Writer};
use crate::limits::Work;

const INTERFACE: &str = "wasmpost:messaging/topic@0.1.0";

/// Attributes that still lie in the memory of the guest.
pub(super) type GivenAttributes = WasmList<(String, WasmList<String>)>;

type Own = Resource<LentWriter>;

/// Offers publishing in one call. Generated bindings take a list in whole before its length can be checked.
pub(super) fn add_publish_to_linker(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let publish = |mut store: StoreContextMut<'_, StoreState>,
                   (topic, attributes, body): (String, GivenAttributes, Vec<u8>)| {
        let work = Arc::clone(&store.data().delivery.work);
        let attributes = taken(&mut store, &work, &attributes)?;
        let delivery = &mut store.data_mut().delivery;
        let published = delivery.publish_now(&topic, attributes, body);
        Ok((delivery.unless_flooded(published)?,))
    };
    linker.instance(INTERFACE)?.func_wrap("publish", publish)?;
    linker.allow_shadowing(false);
    add_writer_to_linker(linker)
}

/// Offers writers where earlier drafts of the contract had them.
fn add_writer_to_linker(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    type Given<'a> = StoreContextMut<'a, StoreState>;
    let mut topic = linker.instance(INTERFACE)?;
    topic.resource("message-writer", ResourceType::host::<LentWriter>(), |mut store, rep| {
        HostMessageWriter::drop(store.data_mut(), Resource::new_own(rep))
    })?;
    let set = |mut store: Given<'_>, (own, name, value)| Ok((store.data_mut().set_attribute(own, name, value)?,));
    topic.func_wrap("[method]message-writer.set-attribute", set)?;
    let append =
        |mut store: Given<'_>, (own, name, value)| Ok((store.data_mut().append_attribute(own, name, value)?,));
    topic.func_wrap("[method]message-writer.append-attribute", append)?;
    let delay = |mut store: Given<'_>, (own, delay)| store.data_mut().set_delay(own, delay);
    topic.func_wrap("[method]message-writer.set-delay", delay)?;
    let write = |mut store: Given<'_>, (own, chunk)| Ok((HostMessageWriter::write(store.data_mut(), own, chunk)?,));
    topic.func_wrap("[method]message-writer.write", write)?;
    topic.func_wrap("[method]message-writer.close", |mut store: Given<'_>, (own,)| Ok((store.data_mut().close(own)?,)))
}

/// As much of a list of attributes as has to be looked at: of one that is too long, enough for it to be refused.
pub(super) fn taken(
    mut store: impl AsContextMut<Data = StoreState>,
    work: &Work,
    given: &GivenAttributes,
) -> wasmtime::Result<AttributeList> {
    let mut list = Vec::new();
    let named: Vec<_> =
        given.iter(store.as_context_mut())?.take(ATTRIBUTE_VALUES_MAX + 1).collect::<wasmtime::Result<_>>()?;
    work.add(named.iter().map(|(name, _)| 1 + name.len()).sum());
    let mut bytes = 0;
    let mut count = 0;
    for (name, values) in named {
        let mut taken = Vec::new();
        for value in values.iter(store.as_context_mut())? {
            let value = value?;
            work.add(1 + value.len());
            (bytes, count) = (value.len().saturating_add(bytes), count + 1);
            taken.push(value);
            if bytes > ATTRIBUTES_BYTES_MAX || count > ATTRIBUTE_VALUES_MAX {
                break;
            }
        }
        list.push((name, taken));
        if bytes > ATTRIBUTES_BYTES_MAX || count > ATTRIBUTE_VALUES_MAX {
            break;
        }
    }
    Ok(list)
}

impl Host for StoreState {
    fn new_writer(&mut self, topic: String) -> wasmtime::Result<Published<Resource<LentWriter>>> {
        let writer = self.delivery.new_writer(&topic);
        match self.delivery.unless_flooded(writer)? {
            Ok(writer) => Ok(Ok(self.table.push(LentWriter { writer, number: self.number })?)),
            Err(refused) => Ok(Err(refused)),
        }
    }

    fn publish(&mut self, topic: String, attributes: AttributeList, body: Vec<u8>) -> wasmtime::Result<Published> {
        let published = self.delivery.publish_now(&topic, attributes, body);
        self.delivery.unless_flooded(published)
    }
}

impl HostMessageWriter for StoreState {
    fn set_attribute(&mut self, writer: Own, name: String, value: String) -> wasmtime::Result<Published> {
        self.written(&writer, |writer, delivery| writer.set_attribute(delivery, &name, &value))
    }

    fn append_attribute(&mut self, writer: Own, name: String, value: String) -> wasmtime::Result<Published> {
        self.written(&writer, |writer, delivery| writer.append_attribute(delivery, &name, &value))
    }

    fn set_delay(&mut self, writer: Own, delay: u64) -> wasmtime::Result<()> {
        // For a call that is over there is nothing left to delay.
        drop(self.written(&writer, |writer, delivery| {
            writer.set_delay(delivery, delay);
            Ok(())
        })?);
        Ok(())
    }

    fn write(&mut self, writer: Own, chunk: Vec<u8>) -> wasmtime::Result<Published> {
        self.written(&writer, |writer, delivery| writer.write(delivery, &chunk))
    }

    fn close(&mut self, writer: Own) -> wasmtime::Result<Published> {
        self.written(&writer, Writer::close)
    }

    fn drop(&mut self, writer: Own) -> wasmtime::Result<()> {
        self.table.delete(writer)?;
        Ok(())
    }
}
