//! Publishing: what a guest may write, within its grants and limits, goes to the outbox of its delivery.

use wasmtime::component::Resource;

use crate::bindings::wasmpost::messaging::topic::{Host, HostMessageWriter};
use crate::delivery::{AttributeList, Published, Writer};
use crate::state::StoreState;

impl Host for StoreState {
    fn new_writer(&mut self, topic: String) -> wasmtime::Result<Published<Resource<Writer>>> {
        match self.delivery.new_writer(&topic) {
            Ok(writer) => Ok(Ok(self.table.push(writer)?)),
            Err(refused) => Ok(Err(refused)),
        }
    }

    fn publish(&mut self, topic: String, attributes: AttributeList, body: Vec<u8>) -> wasmtime::Result<Published> {
        Ok(self.delivery.publish_now(&topic, attributes, body))
    }
}

impl HostMessageWriter for StoreState {
    fn set_attribute(&mut self, writer: Resource<Writer>, name: String, value: String) -> wasmtime::Result<Published> {
        Ok(self.table.get_mut(&writer)?.set_attribute(&self.delivery, &name, &value))
    }

    fn append_attribute(
        &mut self,
        writer: Resource<Writer>,
        name: String,
        value: String,
    ) -> wasmtime::Result<Published> {
        Ok(self.table.get_mut(&writer)?.append_attribute(&self.delivery, &name, &value))
    }

    fn set_delay(&mut self, writer: Resource<Writer>, delay: u64) -> wasmtime::Result<()> {
        self.table.get_mut(&writer)?.set_delay(delay);
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
