//! Outgoing HTTP, clocks and random numbers of WASI 0.3, under the same rules as those of WASI 0.2.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod guest;
mod web;

use guest::built;
use wasmpost_msg::{Attributes, Context, Message, Publication, Reason, ReceiveError, Receiver};
use wasmpost_sandbox::{EngineOptions, ReceiverOptions, Sandbox, WasmReceiver};
use web::Server;

/// A receiver that may ask these origins.
fn asking(origins: &[&str], change: impl FnOnce(&mut ReceiverOptions)) -> WasmReceiver {
    let mut options = guest::options();
    options.grants.publish.push("out".parse().unwrap());
    options.grants.http = origins.iter().map(|origin| origin.parse().unwrap()).collect();
    change(&mut options);
    let sandbox = Sandbox::new(EngineOptions { pool_instances: 2, ..EngineOptions::default() }).unwrap();
    let loaded = sandbox.load(&built("wasi3")).unwrap();
    WasmReceiver::new(sandbox, loaded, options).unwrap()
}

async fn ask(receiver: &WasmReceiver, url: &str, attributes: Attributes) -> Result<Publication, ReceiveError> {
    let context = Context::new("m1", 1, Default::default());
    let message = Message { attributes, body: url.to_owned().into(), context: context.clone() };
    receiver.receive(message).await?;
    Ok(context.outbox().take().remove(0))
}

async fn refused(receiver: &WasmReceiver, url: &str) -> String {
    ask(receiver, url, Attributes::new()).await.unwrap_err().text().to_owned()
}

#[tokio::test]
async fn a_granted_origin_answers() {
    let server = Server::start().await;
    let receiver = asking(&[&server.url("")], |_| ());
    let response = ask(&receiver, &server.url("/hello?a=b"), Attributes::new()).await.unwrap();
    assert_eq!((response.attributes.get("Status"), &response.body[..]), (Some("200"), &b"hello"[..]));
    let head = &server.heads()[0];
    assert!(head.starts_with("GET /hello?a=b HTTP/1.1\r\n") && head.contains("x-asked-by: m1\r\n"), "{head}");
    assert_eq!(head.matches("host: ").count(), 1, "{head}");
    server.until_left_alone().await;
}

#[tokio::test]
async fn origins_without_a_grant_are_denied_and_not_reached() {
    let server = Server::start().await;
    let receiver = asking(&[&format!("http://10.0.0.1:{}", server.address.port())], |_| ());
    assert_eq!(refused(&receiver, &server.url("/hello")).await, "ErrorCode::HttpRequestDenied");
    // Nor by another spelling of what is granted, nor through a tunnel.
    let granted = asking(&[&server.url("")], |_| ());
    for url in [format!("http://user@{}/hello", server.address), format!("gopher://{}/hello", server.address)] {
        let text = refused(&granted, &url).await;
        assert!(
            ["HttpRequestDenied", "HttpProtocolError", "HttpRequestUriInvalid"].iter().any(|code| text.contains(code)),
            "{text}"
        );
    }
    let mut tunnel = Attributes::new();
    tunnel.append("Method", "CONNECT");
    let error = ask(&granted, &server.url("/hello"), tunnel).await.unwrap_err();
    assert!(error.text().contains("HttpRequestMethodInvalid"), "{error:?}");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn requests_have_the_limits_of_a_delivery() {
    let server = Server::start().await;
    let receiver = asking(&[&server.url("")], |options| options.limits.http_requests = 0);
    let text = refused(&receiver, &server.url("/hello")).await;
    assert!(text.contains("a delivery may make 0 HTTP requests"), "{text}");
    let receiver = asking(&[&server.url("")], |options| options.limits.http_body = "3B".parse().unwrap());
    let text = refused(&receiver, &server.url("/hello")).await;
    assert!(text.contains("HttpResponseBodySize(Some(3))"), "{text}");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_response_that_does_not_end_ends_with_the_time_of_the_call() {
    let server = Server::start().await;
    let receiver = asking(&[&server.url("")], |options| options.limits.wall = "300ms".parse().unwrap());
    let error = ask(&receiver, &server.url("/slow"), Attributes::new()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Timeout);
    server.until_left_alone().await;
}

#[test]
fn a_component_that_imports_http_needs_origins() {
    let loaded = Sandbox::new(EngineOptions::default()).unwrap().load(&built("wasi3")).unwrap();
    assert_eq!(loaded.needs(), ["origins to request"]);
}

#[tokio::test]
async fn clocks_and_random_numbers_are_there() {
    let response = ask(&asking(&[], |_| ()), "wait", Attributes::new()).await.unwrap();
    assert_eq!(response.body, "true true 8");
}
