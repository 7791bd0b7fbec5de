//! `wasi:messaging/incoming-handler`: components that were written for the draft of the standard.

use async_trait::async_trait;
use bytes::Bytes;
use wasmpost_msg::{ATTRIBUTE_VALUES_MAX, Attributes};
use wasmtime::component::{HasSelf, Instance, InstancePre, Linker, Resource, WasmList};
use wasmtime::{Store, StoreContextMut};

use super::Entry;
use crate::guest::bindings::wasmpost::messaging::types::{Failure, PublishError};
use crate::guest::{REPLY_TO, StoreState, short, told};

use bindings::wasi::messaging::{producer, request_reply, types};
use types::Error;

#[allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used, clippy::indexing_slicing)] // Generated.
mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/wasi-messaging",
        world: "wasi:messaging/messaging-request-reply",
        imports: { default: trappable },
        exports: { default: async },
        with: {
            "wasi:messaging/types.client": super::Client,
            "wasi:messaging/types.message": super::Message,
            "wasi:messaging/request-reply.request-options": super::RequestOptions,
        },
    });
}

const TYPES: &str = "wasi:messaging/types@0.2.0-draft";
const CONTENT_TYPE: &str = "Content-Type";

/// A connection: there is one broker, that of the receiver, whatever name a guest gives it.
#[allow(unreachable_pub)] // The generated bindings re-export it.
pub struct Client;

/// A message that came in, or that a guest makes.
#[allow(unreachable_pub)] // The generated bindings re-export it.
pub struct Message {
    topic: Option<String>,
    data: Bytes,
    attributes: Attributes,
}

/// How to ask, which no queue can.
#[allow(unreachable_pub)] // The generated bindings re-export it.
pub struct RequestOptions;

struct IncomingHandler(bindings::MessagingRequestReplyIndices);

/// Metadata that still lies in the memory of the guest.
type Pairs = WasmList<(String, String)>;
type Done<T = ()> = wasmtime::Result<Result<T, Error>>;

pub(super) fn bind(component: &InstancePre<StoreState>) -> wasmtime::Result<Box<dyn Entry>> {
    Ok(Box::new(IncomingHandler(bindings::MessagingRequestReplyIndices::new(component)?)))
}

pub(super) fn add_to_linker(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    types::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    producer::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    request_reply::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    linker.allow_shadowing(true);
    // Generated bindings take a list in whole before its length can be checked.
    let set = |mut store: StoreContextMut<'_, StoreState>, (message, given): (Resource<Message>, Pairs)| {
        let pairs = given.iter(&mut store)?.take(ATTRIBUTE_VALUES_MAX + 1).collect::<wasmtime::Result<_>>()?;
        types::HostMessage::set_metadata(store.data_mut(), message, pairs)
    };
    linker.instance(TYPES)?.func_wrap("[method]message.set-metadata", set)?;
    linker.allow_shadowing(false);
    Ok(())
}

#[async_trait]
impl Entry for IncomingHandler {
    async fn call(&self, store: &mut Store<StoreState>, instance: &Instance) -> wasmtime::Result<Result<(), Failure>> {
        let handler = self.0.load(&mut *store, instance)?;
        let state = store.data_mut();
        let message = Message {
            topic: Some(state.shared.topic.to_string()),
            data: std::mem::take(&mut state.body),
            attributes: state.delivery.attributes.clone(),
        };
        let message = state.table.push(message)?;
        let handled = handler.wasi_messaging_incoming_handler().call_handle(&mut *store, message).await?;
        Ok(handled.map_err(|error| {
            Failure::Retry(match error {
                Error::Timeout => "handler timed out".to_owned(),
                Error::Connection(text) => format!("connection: {text}"),
                Error::PermissionDenied(text) => format!("permission denied: {text}"),
                Error::Other(text) => text,
            })
        }))
    }
}

impl types::Host for StoreState {}

impl types::HostClient for StoreState {
    fn connect(&mut self, name: String) -> Done<Resource<Client>> {
        self.delivery.work.call(name.len());
        Ok(Ok(self.table.push(Client)?))
    }

    fn disconnect(&mut self, client: Resource<Client>) -> Done {
        self.table.get(&client)?;
        Ok(Ok(()))
    }

    fn drop(&mut self, client: Resource<Client>) -> wasmtime::Result<()> {
        self.table.delete(client)?;
        Ok(())
    }
}

impl types::HostMessage for StoreState {
    fn new(&mut self, data: Vec<u8>) -> wasmtime::Result<Resource<Message>> {
        self.delivery.work.call(data.len());
        self.hold(data.len())?;
        Ok(self.table.push(Message { topic: None, data: data.into(), attributes: Attributes::new() })?)
    }

    fn topic(&mut self, message: Resource<Message>) -> wasmtime::Result<Option<String>> {
        let topic = self.table.get(&message)?.topic.clone();
        self.delivery.work.call(topic.as_ref().map_or(0, String::len));
        Ok(topic)
    }

    fn content_type(&mut self, message: Resource<Message>) -> wasmtime::Result<Option<String>> {
        let content_type = self.table.get(&message)?.attributes.get(CONTENT_TYPE);
        self.delivery.work.call(content_type.map_or(0, str::len));
        Ok(content_type.map(str::to_owned))
    }

    fn set_content_type(&mut self, message: Resource<Message>, content_type: String) -> wasmtime::Result<()> {
        self.set_metadatum(&message, CONTENT_TYPE, &content_type)
    }

    fn data(&mut self, message: Resource<Message>) -> wasmtime::Result<Vec<u8>> {
        let data = &self.table.get(&message)?.data;
        self.delivery.work.call(data.len());
        Ok(data.to_vec())
    }

    fn set_data(&mut self, message: Resource<Message>, data: Vec<u8>) -> wasmtime::Result<()> {
        self.delivery.work.call(data.len());
        self.hold(data.len())?;
        self.table.get_mut(&message)?.data = data.into();
        Ok(())
    }

    fn metadata(&mut self, message: Resource<Message>) -> wasmtime::Result<Option<types::Metadata>> {
        let attributes = &self.table.get(&message)?.attributes;
        self.delivery.work.call(attributes.bytes() + attributes.len());
        let first = attributes.iter().filter(|(name, _)| *name != CONTENT_TYPE);
        let pairs = first.filter_map(|(name, values)| Some((name.to_owned(), values.first()?.clone())));
        Ok(Some(pairs.collect()))
    }

    fn add_metadata(&mut self, message: Resource<Message>, key: String, value: String) -> wasmtime::Result<()> {
        self.set_metadatum(&message, &key, &value)
    }

    fn set_metadata(&mut self, message: Resource<Message>, metadata: types::Metadata) -> wasmtime::Result<()> {
        self.delivery.work.call(metadata.len());
        if metadata.len() > ATTRIBUTE_VALUES_MAX {
            return Err(wasmtime::Error::msg(format!("metadata over the limit of {ATTRIBUTE_VALUES_MAX} pairs")));
        }
        let attributes = &mut self.table.get_mut(&message)?.attributes;
        let content_type = attributes.remove(CONTENT_TYPE);
        *attributes = Attributes::new();
        attributes.set_all(CONTENT_TYPE, content_type);
        metadata.iter().try_for_each(|(key, value)| self.set_metadatum(&message, key, value))
    }

    fn remove_metadata(&mut self, message: Resource<Message>, key: String) -> wasmtime::Result<()> {
        self.delivery.work.call(key.len());
        self.table.get_mut(&message)?.attributes.remove(&key);
        Ok(())
    }

    fn drop(&mut self, message: Resource<Message>) -> wasmtime::Result<()> {
        self.table.delete(message)?;
        Ok(())
    }
}

impl producer::Host for StoreState {
    fn send(&mut self, _: Resource<Client>, topic: String, message: Resource<Message>) -> Done {
        let message = self.table.delete(message)?;
        let sent = self.send_message(&topic, message);
        self.delivery.unless_flooded(sent)
    }
}

impl request_reply::Host for StoreState {
    fn request(
        &mut self,
        _: Resource<Client>,
        topic: String,
        _: Resource<Message>,
        options: Option<Resource<RequestOptions>>,
    ) -> Done<Vec<Resource<Message>>> {
        self.delivery.work.call(topic.len());
        options.map(|options| self.table.delete(options)).transpose()?;
        let topic = short(&topic);
        let text = format!("request to {topic:?} refused: queues of this host have no request-reply; send instead");
        Ok(Err(Error::Other(text)))
    }

    fn reply(&mut self, reply_to: Resource<Message>, message: Resource<Message>) -> Done {
        let message = self.table.delete(message)?;
        let topic = self.table.get(&reply_to)?.attributes.get(REPLY_TO).map(str::to_owned);
        let sent = match topic {
            Some(topic) => self.send_message(&topic, message),
            None => {
                Err(Error::Other(format!("the message has no attribute {REPLY_TO} that names a topic for answers")))
            }
        };
        self.delivery.unless_flooded(sent)
    }
}

impl request_reply::HostRequestOptions for StoreState {
    fn new(&mut self) -> wasmtime::Result<Resource<RequestOptions>> {
        Ok(self.table.push(RequestOptions)?)
    }

    fn set_timeout_ms(&mut self, _: Resource<RequestOptions>, _: u32) -> wasmtime::Result<()> {
        Ok(())
    }

    fn set_expected_replies(&mut self, _: Resource<RequestOptions>, _: u32) -> wasmtime::Result<()> {
        Ok(())
    }

    fn drop(&mut self, options: Resource<RequestOptions>) -> wasmtime::Result<()> {
        self.table.delete(options)?;
        Ok(())
    }
}

impl StoreState {
    /// Counts what a guest has the host hold. Making messages cannot fail by the interface: one that makes too much traps.
    fn hold(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.delivery.hold_bytes(bytes).map_err(|refused| wasmtime::Error::msg(told(refused)))
    }

    fn set_metadatum(&mut self, message: &Resource<Message>, key: &str, value: &str) -> wasmtime::Result<()> {
        let checked = self.delivery.check_attribute(&self.table.get(message)?.attributes, key, value);
        self.hold(checked.map_err(|refused| wasmtime::Error::msg(told(refused)))?)?;
        self.table.get_mut(message)?.attributes.set(key, value);
        Ok(())
    }

    fn send_message(&mut self, topic: &str, message: Message) -> Result<(), Error> {
        self.delivery.publish_attributes(topic, message.attributes, message.data).map_err(|refused| match refused {
            PublishError::Denied(text) => Error::PermissionDenied(text),
            refused => Error::Other(told(refused)),
        })
    }
}
