//! Publishing: what a guest may write, within its grants and limits, goes to the outbox of its delivery.

use std::sync::Arc;

use wasmpost_msg::{ATTRIBUTE_VALUES_MAX, ATTRIBUTES_BYTES_MAX};
use wasmtime::component::{Linker, Resource, WasmList};
use wasmtime::{AsContextMut, StoreContextMut};

use crate::guest::bindings::wasmpost::messaging::topic::{Host, HostMessageWriter};
use crate::guest::{AttributeList, Published, StoreState, Writer};
use crate::limits::Work;

const INTERFACE: &str = "wasmpost:messaging/topic@0.1.0";

/// Attributes that still lie in the memory of the guest.
pub(super) type GivenAttributes = WasmList<(String, WasmList<String>)>;

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
    Ok(())
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
    fn new_writer(&mut self, topic: String) -> wasmtime::Result<Published<Resource<Writer>>> {
        let writer = self.delivery.new_writer(&topic);
        match self.delivery.unless_flooded(writer)? {
            Ok(writer) => Ok(Ok(self.table.push(writer)?)),
            Err(refused) => Ok(Err(refused)),
        }
    }

    fn publish(&mut self, topic: String, attributes: AttributeList, body: Vec<u8>) -> wasmtime::Result<Published> {
        let published = self.delivery.publish_now(&topic, attributes, body);
        self.delivery.unless_flooded(published)
    }
}

impl HostMessageWriter for StoreState {
    fn set_attribute(&mut self, writer: Resource<Writer>, name: String, value: String) -> wasmtime::Result<Published> {
        Ok(self.table.get_mut(&writer)?.set_attribute(&mut self.delivery, &name, &value))
    }

    fn append_attribute(
        &mut self,
        writer: Resource<Writer>,
        name: String,
        value: String,
    ) -> wasmtime::Result<Published> {
        Ok(self.table.get_mut(&writer)?.append_attribute(&mut self.delivery, &name, &value))
    }

    fn set_delay(&mut self, writer: Resource<Writer>, delay: u64) -> wasmtime::Result<()> {
        self.table.get_mut(&writer)?.set_delay(&self.delivery, delay);
        Ok(())
    }

    fn write(&mut self, writer: Resource<Writer>, chunk: Vec<u8>) -> wasmtime::Result<Published> {
        Ok(self.table.get_mut(&writer)?.write(&mut self.delivery, &chunk))
    }

    fn close(&mut self, writer: Resource<Writer>) -> wasmtime::Result<Published> {
        Ok(self.table.get_mut(&writer)?.close(&mut self.delivery))
    }

    fn drop(&mut self, writer: Resource<Writer>) -> wasmtime::Result<()> {
        self.table.delete(writer)?;
        Ok(())
    }
}
