//! Asks by HTTP, as components of WASI 0.3 do. The body is the address, `http://AUTHORITY/PATH`; what came back is
//! published to `out` with its status, or the message is rejected with the code of the error. A body of `wait` waits for
//! the clock, and publishes what clock and random numbers said.

use exports::wasmpost::messaging::receiver_async::{Failure, Guest, Message};
use wasi::clocks::{monotonic_clock, system_clock};
use wasi::http::client;
use wasi::http::types::{ErrorCode, Fields, Method, Request, RequestOptions, Response, Scheme};
use wasi::random::random::get_random_bytes;
use wit_bindgen::StreamReader;

wit_bindgen::generate!({ path: ["../../../wit/async", "wit"], world: "wasmpost:wasi3/asking", generate_all });

struct Asking;

export!(Asking);

impl Guest for Asking {
    async fn receive(message: &Message, body: StreamReader<u8>) -> Result<(), Failure> {
        let body = String::from_utf8(body.collect().await).map_err(|_| Failure::Reject("no address".into()))?;
        if body == "wait" {
            return wait(message).await;
        }
        let asked = ask(message, &body).await.map_err(|error| Failure::Reject(format!("{error:?}")))?;
        publish(message, &[("Status", asked.0.to_string())], &asked.1)
    }
}

async fn wait(message: &Message) -> Result<(), Failure> {
    let began = monotonic_clock::now();
    monotonic_clock::wait_for(5_000_000).await;
    let waited = monotonic_clock::now() - began >= 5_000_000;
    let text = format!("{waited} {} {}", system_clock::now().seconds > 0, get_random_bytes(8).len());
    publish(message, &[], text.as_bytes())
}

async fn ask(message: &Message, address: &str) -> Result<(u16, Vec<u8>), ErrorCode> {
    let (scheme, rest) = match address.split_once("://") {
        Some(("https", rest)) => (Scheme::Https, rest),
        Some(("http", rest)) => (Scheme::Http, rest),
        Some((scheme, rest)) => (Scheme::Other(scheme.to_owned()), rest),
        None => (Scheme::Http, address),
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let headers = Fields::from_list(&[("X-Asked-By".to_owned(), message.id().into_bytes())]);
    let headers = headers.map_err(|_| ErrorCode::InternalError(None))?;
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    drop(trailers);
    let options = RequestOptions::new();
    let (request, _sent) = Request::new(headers, None, no_trailers, Some(options));
    let method = message.attribute("Method").map_or(Method::Get, Method::Other);
    request.set_method(&method).map_err(|()| ErrorCode::HttpRequestMethodInvalid)?;
    request.set_scheme(Some(&scheme)).map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    request.set_authority(Some(authority)).map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    request.set_path_with_query(Some(&format!("/{path}"))).map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    let response = client::send(request).await?;
    let status = response.get_status_code();
    let (_, done) = wit_future::new(|| Ok(()));
    let (body, ended) = Response::consume_body(response, done);
    let body = body.collect().await;
    ended.await?;
    Ok((status, body))
}

fn publish(message: &Message, attributes: &[(&str, String)], body: &[u8]) -> Result<(), Failure> {
    let attributes: Vec<_> = attributes.iter().map(|(name, value)| ((*name).to_owned(), vec![value.clone()])).collect();
    message.publish("out", &attributes, body).map_err(|error| Failure::Retry(format!("{error:?}")))
}
