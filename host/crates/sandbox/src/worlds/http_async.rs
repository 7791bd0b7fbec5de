//! `wasi:http/handler@0.3`: asynchronous handlers of HTTP. A message is a POST, and the status tells what became of it.

use std::sync::Arc;

use async_trait::async_trait;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};
use wasmtime_wasi_http::p3::Request;
use wasmtime_wasi_http::p3::bindings::{Service, ServiceIndices};

use super::Entry;
use super::response::{Answer, collected, request, wanted};
use crate::guest::StoreState;
use crate::guest::bindings::wasmpost::messaging::types::Failure;
use crate::limits::Work;

struct Handler(ServiceIndices);

pub(super) fn bind(component: &InstancePre<StoreState>) -> wasmtime::Result<Box<dyn Entry>> {
    Ok(Box::new(Handler(ServiceIndices::new(component)?)))
}

#[async_trait]
impl Entry for Handler {
    async fn call(&self, store: &mut Store<StoreState>, instance: &Instance) -> wasmtime::Result<Result<(), Failure>> {
        let service = self.0.load(&mut *store, instance)?;
        let state = store.data_mut();
        let wanted = wanted(state);
        let request = request(state)?;
        // Nobody waits for what becomes of the request itself: its body is in memory.
        let (request, _) = Request::from_http(state.http().hooks, request);
        let work = Arc::clone(&state.delivery.work);
        let answered = answer(store, &service, request, (wanted, &work)).await?;
        Ok(match answered {
            Ok(answer) => answer.outcome(store.data_mut()),
            Err(text) => Err(Failure::Retry(text)),
        })
    }
}

/// The answer of the service, with so many bytes of the body. The guest writes it while it is read.
async fn answer(
    store: &mut Store<StoreState>,
    service: &Service,
    request: Request,
    (wanted, work): (usize, &Work),
) -> wasmtime::Result<Result<Answer, String>> {
    let call = async |accessor: &wasmtime::component::Accessor<StoreState>| {
        let response = match service.handle(accessor, request).await? {
            Ok(response) => response,
            Err(error) => return Ok(Err(format!("handler answered with an error: {error:?}"))),
        };
        let response = accessor.with(|access| response.into_http(access, std::future::ready(Ok(()))))?;
        wasmtime::Result::Ok(collected(response, wanted, work).await)
    };
    store.run_concurrent(call).await?
}
