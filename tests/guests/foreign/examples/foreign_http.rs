//! A handler of HTTP: answers with the body of the request, and with statuses that the body asks for.

use exports::wasi::http::incoming_handler::{Guest, IncomingRequest, ResponseOutparam};
use foreign::{Wish, wish};
use wasi::http::types::{Fields, OutgoingBody, OutgoingResponse};

wit_bindgen::generate!({
    path: ["../../../wit", "../fetching/wit"],
    world: "wasmpost:fetching/serving",
    generate_all,
});

struct Handler;

export!(Handler);

impl Guest for Handler {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let body = read(&request);
        let (status, headers) = match wish(&body) {
            Wish::Retry => (503, vec![("retry-after".to_owned(), b"3".to_vec())]),
            Wish::Reject => (400, vec![]),
            Wish::Echo => status(&body),
        };
        if status == 0 {
            return;
        }
        let headers = [headers, vec![("content-type".to_owned(), b"text/plain".to_vec())]].concat();
        let response = OutgoingResponse::new(Fields::from_list(&headers).unwrap());
        response.set_status_code(status).unwrap();
        let answer = response.body().unwrap();
        ResponseOutparam::set(out, Ok(response));
        if body == b"unfinished" {
            return std::mem::forget(answer);
        }
        let event = request.headers().get("x-github-event").concat();
        let stream = answer.write().unwrap();
        for chunk in [event, b": ".to_vec(), body].concat().chunks(4096) {
            stream.blocking_write_and_flush(chunk).unwrap();
        }
        drop(stream);
        OutgoingBody::finish(answer, None).unwrap();
    }
}

/// `status 418` is answered with 418, and `silence` not at all.
fn status(body: &[u8]) -> (u16, Vec<(String, Vec<u8>)>) {
    let text = String::from_utf8_lossy(body);
    let status = match text.strip_prefix("status ") {
        Some(status) => status.parse().unwrap(),
        None => {
            if text == "silence" {
                0
            } else {
                200
            }
        }
    };
    (status, vec![])
}

fn read(request: &IncomingRequest) -> Vec<u8> {
    let incoming = request.consume().unwrap();
    let mut body = Vec::new();
    let stream = incoming.stream().unwrap();
    while let Ok(chunk) = stream.blocking_read(4096) {
        body.extend(chunk);
    }
    body
}
