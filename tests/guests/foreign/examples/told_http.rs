//! Answers as the message tells it to, as a handler of HTTP.

use exports::wasi::http::incoming_handler::{Guest, IncomingRequest, ResponseOutparam};
use foreign::Told;
use wasi::http::types::{ErrorCode, Fields, OutgoingBody, OutgoingResponse};

wit_bindgen::generate!({
    path: ["../../../wit", "../fetching/wit"],
    world: "wasmpost:fetching/serving",
    generate_all,
});

struct Handler;

export!(Handler);

impl Guest for Handler {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let mut told = Told::new(read(&request));
        let fields = Fields::new();
        for _ in 0..told.byte() % 4 {
            let name = match told.byte() % 6 {
                0 => "retry-after".to_owned(),
                1 => "content-type".to_owned(),
                2 => "content-length".to_owned(),
                3 => "transfer-encoding".to_owned(),
                _ => told.text(),
            };
            let value = if told.byte() % 2 == 0 { told.number().to_string().into_bytes() } else { told.bytes() };
            let _ = fields.append(&name, &value);
        }
        let trailers = Fields::new();
        let _ = trailers.append(&told.text(), &told.bytes());
        let response = OutgoingResponse::new(fields);
        let status = match told.byte() % 4 {
            0 => told.number() as u16,
            1 => 429,
            2 => 503,
            _ => 100 + u16::from(told.byte()) * 2,
        };
        let _ = response.set_status_code(status);
        match told.byte() % 8 {
            0 => return,
            1 => return ResponseOutparam::set(out, Err(ErrorCode::InternalError(Some(told.text())))),
            _ => {}
        }
        let body = response.body().ok();
        ResponseOutparam::set(out, Ok(response));
        let Some(body) = body else { return };
        if let Ok(stream) = body.write() {
            for _ in 0..told.byte() % 4 {
                let _ = stream.blocking_write_and_flush(&told.bytes().repeat(100));
            }
        }
        match told.byte() % 4 {
            0 => drop(body),
            1 => std::mem::forget(body),
            2 => drop(OutgoingBody::finish(body, Some(trailers))),
            _ => drop(OutgoingBody::finish(body, None)),
        }
    }
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
