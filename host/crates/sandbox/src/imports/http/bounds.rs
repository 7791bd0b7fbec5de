//! What the library leaves without a bound, or does not tell, and is done here instead of there.

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Host as _, HostOutgoingRequest as _, IoError, Method};
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;

use super::TYPES;
use crate::state::StoreState;

/// The longest name of a method, and the longest authority, in bytes: a guest can hold a thousand requests unsent, and
/// what they consist of is memory of the host.
const METHOD_BYTES_MAX: usize = 64;
const AUTHORITY_BYTES_MAX: usize = 512;

type Request = Resource<HostOutgoingRequest>;

/// Puts bounds in front of what the library offers already.
pub(super) fn add_to_linker(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(TYPES)?;
    types.func_wrap("[method]outgoing-request.set-method", |mut store, (request, method): (Request, Method)| {
        if matches!(&method, Method::Other(name) if name.len() > METHOD_BYTES_MAX) {
            return Ok((Err(()),));
        }
        Ok((store.data_mut().http().set_method(request, method)?,))
    })?;
    types.func_wrap(
        "[method]outgoing-request.set-authority",
        |mut store, (request, authority): (Request, Option<String>)| {
            if authority.as_ref().is_some_and(|authority| authority.len() > AUTHORITY_BYTES_MAX) {
                return Ok((Err(()),));
            }
            Ok((store.data_mut().http().set_authority(request, authority)?,))
        },
    )?;
    types.func_wrap("http-error-code", |mut store, (error,): (Resource<IoError>,)| {
        let code = store.data_mut().table.get(&error)?.downcast_ref::<Error>().and_then(code);
        match code {
            Some(code) => Ok((Some(code),)),
            None => {
                let error = Resource::new_borrow(error.rep());
                Ok((store.data_mut().http().http_error_code(error)?,))
            }
        }
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The code for what reading a body can fail with. The library keeps these errors in a form that it does not look for.
fn code(error: &Error) -> Option<ErrorCode> {
    match error {
        Error::HttpResponseBodySize(max) => Some(ErrorCode::HttpResponseBodySize(*max)),
        Error::HttpRequestBodySize(max) => Some(ErrorCode::HttpRequestBodySize(*max)),
        Error::HttpResponseHeaderSectionSize(max) => Some(ErrorCode::HttpResponseHeaderSectionSize(*max)),
        Error::HttpResponseIncomplete => Some(ErrorCode::HttpResponseIncomplete),
        Error::ConnectionReadTimeout => Some(ErrorCode::ConnectionReadTimeout),
        Error::ConnectionTerminated => Some(ErrorCode::ConnectionTerminated),
        Error::HttpProtocolError => Some(ErrorCode::HttpProtocolError),
        _ => None,
    }
}
