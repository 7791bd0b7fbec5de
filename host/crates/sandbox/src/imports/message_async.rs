//! The resources of `wasmpost:messaging/types-async`: messages of which an instance may have several, and what is
//! published in answer to each.

use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};

use super::topic::{GivenAttributes, taken};

use crate::guest::bindings::wasmpost::messaging::types::{Failure as Failed, PublishError as Refused};
use crate::guest::bindings_async::wasmpost::messaging::types_async::{
    Failure, Host, HostMessage, HostMessageWriter, PublishError,
};
use crate::guest::{AttributeList, Lent, LentWriter, StoreState, Writer};

const INTERFACE: &str = "wasmpost:messaging/types-async@0.1.0";

/// Offers publishing in one call, as [`super::topic::add_publish_to_linker`] does.
pub(super) fn add_publish_to_linker(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let publish =
        |mut store: StoreContextMut<'_, StoreState>,
         (message, topic, attributes, body): (Resource<Lent>, String, GivenAttributes, Vec<u8>)| {
            let work = Arc::clone(&store.data_mut().lent(message.rep())?.work);
            let attributes = taken(&mut store, &work, &attributes)?;
            Ok((HostMessage::publish(store.data_mut(), message, topic, attributes, body)?,))
        };
    linker.instance(INTERFACE)?.func_wrap("[method]message.publish", publish)?;
    linker.allow_shadowing(false);
    Ok(())
}

type Result<T = ()> = wasmtime::Result<std::result::Result<T, PublishError>>;

impl Host for StoreState {}

impl HostMessage for StoreState {
    fn id(&mut self, message: Resource<Lent>) -> wasmtime::Result<String> {
        Ok(self.lent(message.rep())?.id())
    }

    fn attempt(&mut self, message: Resource<Lent>) -> wasmtime::Result<u32> {
        Ok(self.lent(message.rep())?.attempt())
    }

    fn attributes(&mut self, message: Resource<Lent>) -> wasmtime::Result<AttributeList> {
        Ok(self.lent(message.rep())?.attribute_list())
    }

    fn attribute(&mut self, message: Resource<Lent>, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.lent(message.rep())?.attribute(&name))
    }

    fn new_writer(&mut self, message: Resource<Lent>, topic: String) -> Result<Resource<LentWriter>> {
        let delivery = self.lent(message.rep())?;
        let writer = delivery.new_writer(&topic);
        match self.unless_flooded(message.rep(), writer)? {
            Ok(writer) => Ok(Ok(self.table.push(LentWriter { writer, number: message.rep() })?)),
            Err(refused) => Ok(Err(refused.into())),
        }
    }

    fn publish(&mut self, message: Resource<Lent>, topic: String, attributes: AttributeList, body: Vec<u8>) -> Result {
        let published = self.lent(message.rep())?.publish_now(&topic, attributes, body).map_err(PublishError::from);
        self.unless_flooded(message.rep(), published)
    }

    fn drop(&mut self, _: Resource<Lent>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl HostMessageWriter for StoreState {
    fn set_attribute(&mut self, writer: Resource<LentWriter>, name: String, value: String) -> Result {
        let set = self.written(&writer, |writer, delivery| writer.set_attribute(delivery, &name, &value))?;
        Ok(set.map_err(PublishError::from))
    }

    fn append_attribute(&mut self, writer: Resource<LentWriter>, name: String, value: String) -> Result {
        let appended = self.written(&writer, |writer, delivery| writer.append_attribute(delivery, &name, &value))?;
        Ok(appended.map_err(PublishError::from))
    }

    fn set_delay(&mut self, writer: Resource<LentWriter>, delay: u64) -> wasmtime::Result<()> {
        // For a call that is over there is nothing left to delay.
        drop(self.written(&writer, |writer, delivery| {
            writer.set_delay(delivery, delay);
            Ok(())
        })?);
        Ok(())
    }

    fn write(&mut self, writer: Resource<LentWriter>, chunk: Vec<u8>) -> Result {
        let written = self.written(&writer, |writer, delivery| writer.write(delivery, &chunk))?;
        Ok(written.map_err(PublishError::from))
    }

    fn close(&mut self, writer: Resource<LentWriter>) -> Result {
        Ok(self.written(&writer, Writer::close)?.map_err(PublishError::from))
    }

    fn drop(&mut self, writer: Resource<LentWriter>) -> wasmtime::Result<()> {
        self.table.delete(writer)?;
        Ok(())
    }
}

impl From<Refused> for PublishError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Closed => Self::Closed,
            Refused::Denied(text) => Self::Denied(text),
            Refused::TooLarge(max) => Self::TooLarge(max),
            Refused::LimitExceeded(text) => Self::LimitExceeded(text),
            Refused::InvalidAttribute(text) => Self::InvalidAttribute(text),
        }
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Retry(text) => Self::Retry(text),
            Failure::RetryAfter(after) => Self::RetryAfter(after),
            Failure::Reject(text) => Self::Reject(text),
        }
    }
}
