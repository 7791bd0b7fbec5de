//! Bounds and figures that the library lacks.

use wasmtime::component::{Lift, Linker, Resource, WasmList};
use wasmtime::{AsContextMut, StoreContextMut};
use wasmtime_wasi_http::p2::HeaderResult;
use wasmtime_wasi_http::p2::bindings::http::types::{
    ErrorCode, HeaderError, Host as _, HostFields as _, HostOutgoingRequest as _, IoError, Method,
};
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;
use wasmtime_wasi_http::{Error, FieldMap, WasiHttpCtxView};

use super::{FIELDS_BYTES_MAX, TYPES};
use crate::guest::StoreState;

/// The longest name of a method, and the longest authority, in bytes: a guest can hold a thousand requests unsent, and
/// what they consist of is memory of the host.
const METHOD_BYTES_MAX: usize = 64;
const AUTHORITY_BYTES_MAX: usize = 512;
/// The longest path with its query, in bytes.
const PATH_BYTES_MAX: usize = 8 << 10;
/// More fields than this do not fit into the bytes of a message's fields, however short they are.
const FIELDS_MAX: usize = FIELDS_BYTES_MAX / 32;

type Request = Resource<HostOutgoingRequest>;
type Fields = Resource<FieldMap>;
type Store<'a> = StoreContextMut<'a, StoreState>;

/// Puts bounds in front of what the library offers already.
pub(super) fn add_to_linker(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(TYPES)?;
    types.func_wrap(
        "[method]outgoing-request.set-method",
        |mut store: Store<'_>, (request, method): (Request, Method)| {
            let length = if let Method::Other(name) = &method { name.len() } else { 0 };
            store.data().delivery.work.call(length);
            if matches!(&method, Method::Other(name) if name.len() > METHOD_BYTES_MAX) {
                return Ok((Err(()),));
            }
            Ok((store.data_mut().http().set_method(request, method)?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-authority",
        |mut store: Store<'_>, (request, authority): (Request, Option<String>)| {
            store.data().delivery.work.call(authority.as_ref().map_or(0, String::len));
            if authority.as_ref().is_some_and(|authority| authority.len() > AUTHORITY_BYTES_MAX) {
                return Ok((Err(()),));
            }
            Ok((store.data_mut().http().set_authority(request, authority)?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-path-with-query",
        |mut store: Store<'_>, (request, path): (Request, Option<String>)| {
            store.data().delivery.work.call(path.as_ref().map_or(0, String::len));
            if path.as_ref().is_some_and(|path| path.len() > PATH_BYTES_MAX) {
                return Ok((Err(()),));
            }
            Ok((store.data_mut().http().set_path_with_query(request, path)?,))
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
    add_fields_to_linker(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

fn add_fields_to_linker(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    let mut types = linker.instance(TYPES)?;
    types.func_wrap("[static]fields.from-list", |mut store: Store<'_>, (list,): (WasmList<(String, Vec<u8>)>,)| {
        let list = taken(&mut store, &list)?;
        store.data().delivery.work.call(list.iter().map(|(name, value)| 1 + name.len() + value.len()).sum());
        let mut http = store.data_mut().http();
        let made = http.from_list(list);
        Ok((told(&mut http, made)?,))
    })?;
    types.func_wrap(
        "[method]fields.set",
        |mut store: Store<'_>, (fields, name, values): (Fields, String, WasmList<Vec<u8>>)| {
            let values = taken(&mut store, &values)?;
            let amount = values.iter().map(|value| 1 + value.len()).sum::<usize>();
            store.data().delivery.work.call(name.len() + amount);
            let mut http = store.data_mut().http();
            let set = http.set(fields, name, values);
            Ok((told(&mut http, set)?,))
        },
    )?;
    types.func_wrap(
        "[method]fields.append",
        |mut store: Store<'_>, (fields, name, value): (Fields, String, Vec<u8>)| {
            store.data().delivery.work.call(name.len() + value.len());
            let mut http = store.data_mut().http();
            let appended = http.append(fields, name, value);
            Ok((told(&mut http, appended)?,))
        },
    )?;
    types.func_wrap("[method]fields.entries", |mut store: Store<'_>, (fields,): (Fields,)| {
        let entries = store.data_mut().http().entries(fields)?;
        store.data().delivery.work.call(entries.iter().map(|(name, value)| 1 + name.len() + value.len()).sum());
        Ok((entries,))
    })
}

/// The elements of a list, if there are not more than a message can have fields.
fn taken<T: Lift>(mut store: impl AsContextMut, list: &WasmList<T>) -> wasmtime::Result<Vec<T>> {
    if list.len() > FIELDS_MAX {
        return Err(wasmtime::Error::msg(format!(
            "total size of fields is over the limit of {FIELDS_BYTES_MAX} bytes"
        )));
    }
    list.iter(store.as_context_mut())?.collect()
}

fn told<T>(http: &mut WasiHttpCtxView<'_>, result: HeaderResult<T>) -> wasmtime::Result<Result<T, HeaderError>> {
    match result {
        Ok(made) => Ok(Ok(made)),
        Err(error) => http.convert_header_error(error).map(Err),
    }
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
