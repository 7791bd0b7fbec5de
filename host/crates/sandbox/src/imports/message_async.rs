//! The resources of `wasmpost:messaging/types-async`: messages of which an instance may have several, and what is
//! published in answer to each.

use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};

use super::topic::{GivenAttributes, taken};

use crate::guest::bindings::wasmpost::messaging::topic::PublishError as Refused;
use crate::guest::bindings::wasmpost::messaging::types::Failure as Failed;
use crate::guest::bindings_async::wasmpost::messaging::types_async::{
    Failure, Host, HostMessage, HostMessageWriter, PublishError,
};
use crate::guest::{AttributeList, DeliveryState, Lent, LentWriter, Published, StoreState, Writer};

const INTERFACE: &str = "wasmpost:messaging/types-async@0.1.0";

/// Offers publishing in one call, as [`super::topic::add_publish_to_linker`] does.
pub(super) fn add_publish_to_linker(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let publish =
        |mut store: StoreContextMut<'_, StoreState>,
         (message, topic, attributes, body): (Resource<Lent>, String, GivenAttributes, Vec<u8>)| {
            let work = Arc::clone(&store.data_mut().lent(&message)?.work);
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
        Ok(self.lent(&message)?.id())
    }

    fn attempt(&mut self, message: Resource<Lent>) -> wasmtime::Result<u32> {
        Ok(self.lent(&message)?.attempt())
    }

    fn attributes(&mut self, message: Resource<Lent>) -> wasmtime::Result<AttributeList> {
        Ok(self.lent(&message)?.attribute_list())
    }

    fn attribute(&mut self, message: Resource<Lent>, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.lent(&message)?.attribute(&name))
    }

    fn new_writer(&mut self, message: Resource<Lent>, topic: String) -> Result<Resource<LentWriter>> {
        let delivery = self.lent(&message)?;
        let writer = delivery.new_writer(&topic);
        match self.unless_flooded(&message, writer)? {
            Ok(writer) => Ok(Ok(self.table.push(LentWriter { writer, number: message.rep() })?)),
            Err(refused) => Ok(Err(refused.into())),
        }
    }

    fn publish(&mut self, message: Resource<Lent>, topic: String, attributes: AttributeList, body: Vec<u8>) -> Result {
        let published = self.lent(&message)?.publish_now(&topic, attributes, body).map_err(PublishError::from);
        self.unless_flooded(&message, published)
    }

    fn drop(&mut self, _: Resource<Lent>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl HostMessageWriter for StoreState {
    fn set_attribute(&mut self, writer: Resource<LentWriter>, name: String, value: String) -> Result {
        self.written(&writer, |writer, delivery| writer.set_attribute(delivery, &name, &value))
    }

    fn append_attribute(&mut self, writer: Resource<LentWriter>, name: String, value: String) -> Result {
        self.written(&writer, |writer, delivery| writer.append_attribute(delivery, &name, &value))
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
        self.written(&writer, |writer, delivery| writer.write(delivery, &chunk))
    }

    fn close(&mut self, writer: Resource<LentWriter>) -> Result {
        self.written(&writer, Writer::close)
    }

    fn drop(&mut self, writer: Resource<LentWriter>) -> wasmtime::Result<()> {
        self.table.delete(writer)?;
        Ok(())
    }
}

impl StoreState {
    /// The delivery of a message that is lent. The engine takes the handle away when the call returns.
    fn lent(&mut self, message: &Resource<Lent>) -> wasmtime::Result<&mut DeliveryState> {
        self.delivery_of(message.rep()).ok_or_else(|| wasmtime::Error::msg("the message is not lent any more"))
    }

    /// Hands a result to the guest, unless it was refused too often in the call of this message, which is to blame then.
    fn unless_flooded<T>(&mut self, message: &Resource<Lent>, result: T) -> wasmtime::Result<T> {
        let number = message.rep();
        let checked = self.lent(message)?.unless_flooded(result);
        checked.inspect_err(|_| self.culprit = Some(number))
    }

    /// Works on a writer, as long as the call goes on that it was made in.
    fn written(
        &mut self,
        writer: &Resource<LentWriter>,
        work: impl FnOnce(&mut Writer, &mut DeliveryState) -> Published,
    ) -> Result {
        let number = self.table.get(writer)?.number;
        let Self { table, delivery, together, number: own, .. } = self;
        let found = if number == *own { Some(delivery) } else { together.get_mut(&number) };
        Ok(match found {
            Some(delivery) => work(&mut table.get_mut(writer)?.writer, delivery).map_err(PublishError::from),
            None => Err(PublishError::Closed),
        })
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
