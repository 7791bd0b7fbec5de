//! Outgoing HTTP: requests go to granted origins, over addresses that were checked, and end with the call.

mod address;
mod body;
mod bounds;
mod connect;
mod head;
mod send;

use std::sync::Arc;

use http::Request;
use http::header::{HOST, HeaderValue};
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::p2::bindings::LinkOptions;
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler::Host as _;
use wasmtime_wasi_http::p2::bindings::http::types::{self, ErrorCode};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::p3::bindings::http as p3;
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttp, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use crate::guest::{Asked, Calls, Http, Requests, StoreState};
use crate::limits::Charged;

/// The newest version of the interfaces; components that import older ones get it, too.
const OUTGOING_HANDLER: &str = "wasi:http/outgoing-handler@0.2.12";
const TYPES: &str = "wasi:http/types@0.2.12";
/// The most bytes of the fields of one message, names and values and what keeping them takes.
const FIELDS_BYTES_MAX: usize = 32 << 10;
/// The most informational heads before the response. Their bytes count with those of its own head.
const INFORMATIONAL_MAX: u32 = 16;
/// The most bytes that a guest may write to the body of a request at a time. Two such pieces wait in the host for each
/// body, sent or not.
const CHUNK_BYTES_MAX: usize = 32 << 10;

type Handled = Result<Resource<HostFutureIncomingResponse>, ErrorCode>;
type Answer = Box<dyn Future<Output = Result<(http::Response<WasiBody>, Ending), Error>> + Send>;
type Ending = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// Offers `wasi:http`, as far as a client needs it.
pub(super) fn add_to_linker(linker: &mut Linker<StoreState>, calls: Calls) -> wasmtime::Result<()> {
    if calls == Calls::Asynchronous {
        p3::types::add_to_linker::<_, WasiHttp>(linker, StoreState::http)?;
        p3::client::add_to_linker::<_, WasiHttp>(linker, StoreState::http)?;
    }
    types::add_to_linker::<_, WasiHttp>(linker, &LinkOptions::default().into(), StoreState::http)?;
    bounds::add_to_linker(linker)?;
    linker.instance(OUTGOING_HANDLER)?.func_wrap("handle", |mut store, (request, options)| {
        let handled: Handled = store.data_mut().handle_http(request, options)?;
        Ok((handled,))
    })
}

impl StoreState {
    /// The state for the functions of `wasi:http`.
    pub(crate) fn http(&mut self) -> WasiHttpCtxView<'_> {
        let http = self.http.get_or_insert_with(|| {
            let mut context = WasiHttpCtx::new();
            context.set_field_size_limit(FIELDS_BYTES_MAX);
            Http {
                context,
                requests: Requests::new(&self.shared, &self.delivery.log, &self.meter, &self.payer, self.messages),
            }
        });
        WasiHttpCtxView { hooks: &mut http.requests, table: &mut self.table, ctx: &mut http.context }
    }

    /// Checks a request before anything else looks at it. It belongs to the host from here on, with its options.
    fn handle_http(
        &mut self,
        request: Resource<HostOutgoingRequest>,
        options: Option<Resource<RequestOptions>>,
    ) -> wasmtime::Result<Handled> {
        let options = options.map(|options| self.table.delete(options)).transpose()?.unwrap_or_default();
        self.http();
        let (Some(http), found) = (&mut self.http, self.table.get_mut(&request)?) else {
            return Ok(Err(ErrorCode::InternalError(None)));
        };
        match http.requests.admit(&Asked::by(found), options) {
            Ok(admitted) => {
                // In the one spelling that was compared with the grants.
                found.authority = Some(admitted.origin.authority());
                http.requests.admitted = Some(admitted);
            }
            Err(refused) => {
                self.table.delete(request)?;
                return Ok(Err(refused));
            }
        }
        let handled = self.http().handle(request, None);
        if let Some(http) = &mut self.http {
            // Still here if the request was found faulty; its place is free again.
            http.requests.admitted = None;
        }
        handled.map_or_else(|error| error.downcast().map(Err), |response| Ok(Ok(response)))
    }
}

impl WasiHttpView for StoreState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        StoreState::http(self)
    }
}

impl WasiHttpHooks for Requests {
    /// Sends a request that was admitted. Those of WASI 0.3 come here at once, and are checked here.
    fn send_request(&mut self, mut request: Request<WasiBody>, options: Option<RequestOptions>, _: Ending) -> Answer {
        let admitted = match self.admitted.take() {
            Some(admitted) => Ok(admitted),
            None => self.admit(&Asked::by_head(&request), options.unwrap_or_default()).map_err(Error::from),
        };
        Box::new(async move {
            let admitted = admitted?;
            // In the one spelling that was compared with the grants.
            let host = HeaderValue::try_from(admitted.origin.authority()).map_err(|_| Error::HttpRequestUriInvalid)?;
            request.headers_mut().insert(HOST, host);
            let payer = Arc::clone(&admitted.payer);
            let budget = admitted.cpu_budget;
            let sent = Charged::new(payer, budget, send::send(admitted, request)).await;
            // A guest whose time is used up is about to end.
            let response = sent.unwrap_or(Err(Error::ConnectionTerminated))?;
            // The connection lives and ends with the body of the response.
            let ending: Ending = Box::new(std::future::ready(Ok(())));
            Ok((response, ending))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES_MAX
    }
}
