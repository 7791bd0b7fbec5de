//! A handler of HTTP of WASI 0.3: answers with the body it got, or with the status that the body names.

use exports::wasi::http::handler::Guest;
use wasi::http::types::{ErrorCode, Fields, Request, Response};

wit_bindgen::generate!({ path: ["../../../wit/async", "wit"], world: "wasmpost:wasi3/handling", generate_all });

struct Handling;

export!(Handling);

impl Guest for Handling {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let event = request.get_headers().get("x-github-event").into_iter().next().unwrap_or_default();
        let (_, done) = wit_future::new(|| Ok(()));
        let (body, _) = Request::consume_body(request, done);
        let body = body.collect().await;
        let status = std::str::from_utf8(&body).ok().and_then(|text| text.parse().ok());
        let headers = [("content-type", b"text/plain".to_vec()), ("retry-after", b"3".to_vec())];
        let headers = headers.map(|(name, value)| (name.to_owned(), value));
        let headers = Fields::from_list(&headers).map_err(|_| ErrorCode::InternalError(None))?;
        let (mut writer, contents) = wit_stream::new();
        let (trailers, no_trailers) = wit_future::new(|| Ok(None));
        drop(trailers);
        let (response, _) = Response::new(headers, Some(contents), no_trailers);
        response.set_status_code(status.unwrap_or(200)).map_err(|()| ErrorCode::InternalError(None))?;
        wit_bindgen::spawn(async move {
            writer.write_all([&event[..], b": ", &body].concat()).await;
        });
        Ok(response)
    }
}
