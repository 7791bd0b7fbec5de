//! Sends the HTTP requests that the attributes of its message describe, publishes to `out` what came back, and rejects
//! with the error's code. `Url` is where to; `Mode` is `fetch` unless given.
//!
//! - `fetch`: sends `Count` requests, one after the other, and publishes the last response.
//! - `hold`: starts `Count` requests and drops none, then publishes how many were taken and how each other was refused.
//! - `unsent`: makes `Count` requests whose methods and authorities are as long as `Bytes` says, and sends none.
//! - `leave`: starts a request, reads the start of its body if `Read` is given, and returns with all of it open.
//!
//! A request is shaped by `Method`, `Body-Bytes`, `Content-Length`, `Header` (`name=value`), and `Timeout` in nanoseconds.

use std::collections::BTreeMap;

use exports::wasmpost::messaging::receiver::{Failure, Guest, Message};
use wasi::http::outgoing_handler::handle;
use wasi::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions,
    Scheme, http_error_code,
};
use wasi::io::streams::StreamError;
use wasmpost::messaging::topic;

wit_bindgen::generate!({ path: ["../../../wit", "wit"], world: "wasmpost:fetching/fetching", generate_all });

struct Fetching;

export!(Fetching);

impl Guest for Fetching {
    fn receive(message: &Message) -> Result<(), Failure> {
        let count = number(message, "Count").unwrap_or(1);
        let done = match message.attribute("Mode").as_deref() {
            Some("hold") => hold(message, count),
            Some("unsent") => unsent(message, count),
            Some("leave") => leave(message),
            _ => fetch(message, count),
        };
        done.map_err(Failure::Reject)
    }
}

fn number(message: &Message, name: &str) -> Option<u64> {
    message.attribute(name).and_then(|text| text.parse().ok())
}

fn fetch(message: &Message, count: u64) -> Result<(), String> {
    let mut last = (0, Vec::new(), Vec::new());
    for _ in 0..count {
        let response = wait(&start(message)?)?;
        let headers = response.headers().entries();
        last = (response.status(), headers, read(&response)?);
    }
    let (status, headers, body) = last;
    let mut attributes = vec![("Status".to_owned(), vec![status.to_string()])];
    attributes.extend(headers.into_iter().map(|(name, value)| (name, vec![String::from_utf8_lossy(&value).into()])));
    topic::publish("out", &attributes, &body).map_err(|error| format!("{error:?}"))
}

fn hold(message: &Message, count: u64) -> Result<(), String> {
    let mut held = Vec::new();
    let mut told = BTreeMap::<String, u32>::new();
    for _ in 0..count {
        match start(message) {
            Ok(response) => {
                held.push(response);
                *told.entry("taken".to_owned()).or_default() += 1;
            }
            Err(code) => *told.entry(code).or_default() += 1,
        }
    }
    topic::publish("out", &[], format!("{told:?}").as_bytes()).map_err(|error| format!("{error:?}"))
}

fn unsent(message: &Message, count: u64) -> Result<(), String> {
    let long = "a".repeat(number(message, "Bytes").unwrap_or(0) as usize);
    let mut held = Vec::new();
    for _ in 0..count {
        let request = OutgoingRequest::new(Fields::new());
        request.set_authority(Some(&long)).map_err(|()| "authority refused")?;
        request.set_method(&Method::Other(long.clone())).map_err(|()| "method refused")?;
        held.push(request);
    }
    Ok(())
}

fn leave(message: &Message) -> Result<(), String> {
    let pending = start(message)?;
    if message.attribute("Read").is_some() {
        let response = wait(&pending)?;
        let body = response.consume().map_err(|()| "body was consumed")?;
        let stream = body.stream().map_err(|()| "body was read")?;
        stream.blocking_read(1).map_err(|error| format!("{error:?}"))?;
        std::mem::forget((response, stream, body));
    }
    std::mem::forget(pending);
    Ok(())
}

/// Hands a request over, and writes its body as far as it is taken.
fn start(message: &Message) -> Result<FutureIncomingResponse, String> {
    let headers = Fields::new();
    if let Some(length) = message.attribute("Content-Length") {
        headers.append("content-length", length.as_bytes()).map_err(|error| format!("{error:?}"))?;
    }
    if let Some((name, value)) = message.attribute("Header").as_deref().and_then(|header| header.split_once('=')) {
        headers.append(name, value.as_bytes()).map_err(|error| format!("{error:?}"))?;
    }
    let request = OutgoingRequest::new(headers);
    address(&request, &message.attribute("Url").unwrap_or_default())?;
    if let Some(method) = message.attribute("Method") {
        request.set_method(&Method::Other(method)).map_err(|()| "method refused")?;
    }
    let bytes = number(message, "Body-Bytes");
    let body = bytes.map(|_| request.body().map_err(|()| "body was taken")).transpose()?;
    let response = handle(request, options(message)).map_err(told)?;
    if let Some((body, bytes)) = body.zip(bytes) {
        write(body, bytes);
    }
    Ok(response)
}

fn address(request: &OutgoingRequest, url: &str) -> Result<(), String> {
    let (scheme, rest) = url.split_once("://").ok_or("no scheme")?;
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let (authority, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    request.set_scheme(Some(&scheme)).map_err(|()| "scheme refused")?;
    request.set_authority(Some(authority)).map_err(|()| "authority refused")?;
    // With `/~`, only the rest is the path, so that an invalid path can be tried.
    let path = path.strip_prefix("/~").unwrap_or(path);
    request.set_path_with_query(Some(path)).map_err(|()| "path refused".to_owned())
}

fn options(message: &Message) -> Option<RequestOptions> {
    let timeout = number(message, "Timeout")?;
    let options = RequestOptions::new();
    options.set_connect_timeout(number(message, "Connect-Timeout")).ok()?;
    options.set_first_byte_timeout(Some(timeout)).ok()?;
    options.set_between_bytes_timeout(Some(timeout)).ok()?;
    Some(options)
}

fn write(body: OutgoingBody, bytes: u64) {
    let Ok(stream) = body.write() else { return };
    let mut left = bytes;
    while left > 0 {
        let chunk = left.min(4096);
        if stream.blocking_write_and_flush(&vec![b'x'; chunk as usize]).is_err() {
            break;
        }
        left -= chunk;
    }
    drop(stream);
    drop(OutgoingBody::finish(body, None));
}

fn wait(pending: &FutureIncomingResponse) -> Result<IncomingResponse, String> {
    pending.subscribe().block();
    pending.get().ok_or("not ready")?.map_err(|()| "taken before")?.map_err(told)
}

fn read(response: &IncomingResponse) -> Result<Vec<u8>, String> {
    let body = response.consume().map_err(|()| "body was consumed")?;
    let stream = body.stream().map_err(|()| "body was read")?;
    let mut read = Vec::new();
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(bytes) => read.extend(bytes),
            Err(StreamError::Closed) => return Ok(read),
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(http_error_code(&error).map_or_else(|| error.to_debug_string(), told));
            }
        }
    }
}

fn told(code: ErrorCode) -> String {
    format!("{code:?}").replace("ErrorCode::", "")
}
