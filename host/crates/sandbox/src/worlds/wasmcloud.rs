//! `wasmcloud:messaging/handler`: components that were written for wasmCloud.

use async_trait::async_trait;
use wasmtime::Store;
use wasmtime::component::{HasSelf, Instance, InstancePre, Linker};

use super::Entry;
use crate::guest::bindings::wasmpost::messaging::types::Failure;
use crate::guest::{REPLY_TO, StoreState, short, told};

use bindings::wasmcloud::messaging::{consumer, types};

#[allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used, clippy::indexing_slicing)] // Generated.
mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/wasmcloud-messaging",
        world: "wasmcloud:messaging/messaging",
        imports: { default: trappable },
        exports: { default: async },
    });
}

struct Handler(bindings::MessagingIndices);

pub(super) fn bind(component: &InstancePre<StoreState>) -> wasmtime::Result<Box<dyn Entry>> {
    Ok(Box::new(Handler(bindings::MessagingIndices::new(component)?)))
}

pub(super) fn add_to_linker(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    consumer::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

#[async_trait]
impl Entry for Handler {
    async fn call(&self, store: &mut Store<StoreState>, instance: &Instance) -> wasmtime::Result<Result<(), Failure>> {
        let handler = self.0.load(&mut *store, instance)?;
        let state = store.data_mut();
        let message = types::BrokerMessage {
            subject: state.shared.topic.to_string(),
            body: std::mem::take(&mut state.body).into(),
            reply_to: state.delivery.attributes.get(REPLY_TO).map(str::to_owned),
        };
        let handled = handler.wasmcloud_messaging_handler().call_handle_message(&mut *store, &message).await?;
        Ok(handled.map_err(Failure::Retry))
    }
}

impl types::Host for StoreState {}

impl consumer::Host for StoreState {
    fn request(
        &mut self,
        subject: String,
        body: Vec<u8>,
        _: u32,
    ) -> wasmtime::Result<Result<types::BrokerMessage, String>> {
        self.delivery.work.call(subject.len() + body.len());
        let subject = short(&subject);
        Ok(Err(format!("request to {subject:?} refused: queues of this host have no request-reply; publish instead")))
    }

    fn publish(&mut self, message: types::BrokerMessage) -> wasmtime::Result<Result<(), String>> {
        self.delivery.work.call(message.reply_to.as_ref().map_or(0, String::len));
        let attributes = message.reply_to.map(|topic| (REPLY_TO.to_owned(), vec![topic]));
        let published = self.delivery.publish_now(&message.subject, attributes.into_iter().collect(), message.body);
        self.delivery.unless_flooded(published.map_err(told))
    }
}
