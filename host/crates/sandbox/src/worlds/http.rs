//! `wasi:http/incoming-handler@0.2`: handlers of HTTP. A message is a POST, and the status tells what became of it.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};
use wasmtime_wasi_http::p2::bindings::ProxyIndices;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use super::Entry;
use super::response::{Answer, collected, request, wanted};
use crate::guest::StoreState;
use crate::guest::bindings::wasmpost::messaging::types::Failure;
use crate::limits::Work;

struct IncomingHandler(ProxyIndices);

type Sent = Result<hyper::Response<HyperOutgoingBody>, ErrorCode>;

pub(super) fn bind(component: &InstancePre<StoreState>) -> wasmtime::Result<Box<dyn Entry>> {
    Ok(Box::new(IncomingHandler(ProxyIndices::new(component)?)))
}

#[async_trait]
impl Entry for IncomingHandler {
    async fn call(&self, store: &mut Store<StoreState>, instance: &Instance) -> wasmtime::Result<Result<(), Failure>> {
        let proxy = self.0.load(&mut *store, instance)?;
        let state = store.data_mut();
        let request = request(state)?;
        let (sender, receiver) = oneshot::channel();
        let wanted = wanted(state);
        let request = state.http().new_incoming_request(Scheme::Http, request)?;
        let outparam = state.http().new_response_outparam(sender)?;
        let work = Arc::clone(&store.data().delivery.work);
        let mut answer = pin!(answer(receiver, wanted, &work));
        let mut answered = None;
        {
            let mut call = pin!(proxy.wasi_http_incoming_handler().call_handle(&mut *store, request, outparam));
            loop {
                // The body is taken while the guest writes it: it may be longer than what fits in between.
                tokio::select! {
                    biased;
                    taken = &mut answer, if answered.is_none() => answered = Some(taken),
                    called = &mut call => break called?,
                }
            }
        }
        // Now the guest is done: what it has not answered, it will never answer.
        let answered = match answered {
            Some(answered) => answered,
            None => match answer.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())) {
                Poll::Ready(answered) => answered,
                Poll::Pending => Err("handler returned before its response was complete".to_owned()),
            },
        };
        Ok(match answered {
            Ok(answer) => answer.outcome(store.data_mut()),
            Err(text) => Err(Failure::Retry(text)),
        })
    }
}

/// The answer of the handler, with so many bytes of the body.
async fn answer(sent: oneshot::Receiver<Sent>, wanted: usize, work: &Work) -> Result<Answer, String> {
    let response = sent.await.map_err(|_| "handler gave no response".to_owned())?;
    let response = response.map_err(|error| format!("handler answered with an error: {error}"))?;
    collected(response, wanted, work).await
}
