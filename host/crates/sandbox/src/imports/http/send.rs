//! One request over one connection, which ends with the body of the response.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Request, Response, Uri};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use wasmtime_wasi::runtime::spawn;
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, WasiBody};

use super::FIELDS_BYTES_MAX;
use super::body::{Open, Overrun, RequestBody, ResponseBody, Room};
use super::head::Heads;
use crate::guest::Admitted;
use crate::limits::Charged;

/// Sends a request; the response comes with its head, and its body is read from the connection.
pub(super) async fn send(admitted: Admitted, request: Request<WasiBody>) -> Result<Response<WasiBody>, Error> {
    let max = admitted.shared.limits.http_body.0;
    let work = Arc::clone(admitted.log.work());
    if declared(request.headers()).is_some_and(|bytes| bytes > max) {
        return Err(Error::HttpRequestBodySize(Some(max)));
    }
    let connect = admitted.shared.connector.connect(&admitted);
    let stream = within(admitted.timeouts.connect, connect, Error::ConnectionTimeout).await??;
    let overrun = Overrun::default();
    let heads = Heads::default();
    let mut request = prepared(request)?.map(|body| RequestBody::new(body, Room::new(max, &work), overrun.clone()));
    let counted = heads.clone();
    hyper::ext::on_informational(&mut request, move |_| counted.count());
    // The head reader reads the body of the response as well.
    let stream = TokioIo::new(heads.reader(stream));
    let greeting = http1::Builder::new().max_buf_size(FIELDS_BYTES_MAX).handshake(stream);
    let (mut sender, connection) = greeting.await.map_err(|error| fault(&error, max, &overrun))?;
    // Reading reports the error that ends a connection. The guest pays for the work of the connection.
    let payer = Arc::clone(&admitted.payer);
    let budget = admitted.cpu_budget;
    let connection = spawn(async move { drop(Charged::new(payer, budget, connection).await) });
    let answer = within(admitted.timeouts.first_byte, sender.send_request(request), Error::ConnectionReadTimeout);
    let answered = answer.await?;
    if heads.are_too_much() {
        return Err(head_too_large());
    }
    let response = answered.map_err(|error| fault(&error, max, &overrun))?;
    heads.end();
    if response.body().size_hint().lower() > max {
        return Err(Error::HttpResponseBodySize(Some(max)));
    }
    let open = Open { _permit: admitted.permit, _connection: connection };
    let pause = admitted.timeouts.between_bytes;
    Ok(response.map(|incoming| ResponseBody::new(incoming, Room::new(max, &work), pause, open, overrun).boxed_unsync()))
}

/// The error of the guest for an error of the connection.
pub(super) fn fault(error: &hyper::Error, body_max: u64, overrun: &Overrun) -> Error {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind);
    match () {
        () if overrun.happened() => Error::HttpRequestBodySize(Some(body_max)),
        () if error.is_parse_too_large() => head_too_large(),
        () if error.is_incomplete_message() || io == Some(io::ErrorKind::UnexpectedEof) => {
            Error::HttpResponseIncomplete
        }
        () if error.is_closed() || error.is_canceled() || io.is_some() => Error::ConnectionTerminated,
        () => Error::HttpProtocolError,
    }
}

fn head_too_large() -> Error {
    Error::HttpResponseHeaderSectionSize(u32::try_from(FIELDS_BYTES_MAX).ok())
}

async fn within<F: Future>(time: Duration, future: F, late: Error) -> Result<F::Output, Error> {
    tokio::time::timeout(time, future).await.map_err(|_| late)
}

/// The length that a message says its body has.
fn declared(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The request as servers expect it: the origin in the header `Host` alone, where it was put in its one spelling.
fn prepared(mut request: Request<WasiBody>) -> Result<Request<WasiBody>, Error> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    *request.uri_mut() = Uri::builder().path_and_query(path).build().map_err(|_| Error::HttpRequestUriInvalid)?;
    Ok(request)
}
