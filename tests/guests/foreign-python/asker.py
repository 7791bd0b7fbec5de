"""A handler of HTTP of WASI 0.3: asks the address in the body, and answers with what came back or how it was refused."""

from componentize_py_types import Err, Ok
from wit_world import byte_stream, exports
from wit_world import result_option_wasi_http_types_fields_wasi_http_types_error_code_future as trailers
from wit_world import result_unit_wasi_http_types_error_code_future as done
from wit_world.imports import client
from wit_world.imports.wasi_http_types import Fields, Request, Response, Scheme_Http
import asyncio

CHUNK_BYTES = 4096


class Handler(exports.Handler):
    async def handle(self, request: Request) -> Response:
        asked_by = b"".join(request.get_headers().get("wasmpost-id"))
        address = (await body_of(Request, request)).decode()
        try:
            answer = await ask(address, asked_by)
        except Err as error:
            answer = type(error.value).__name__.encode()
        writer, contents = byte_stream()
        response, _ = Response.new(Fields.from_list([("content-type", b"text/plain")]), contents, none())
        asyncio.create_task(write(writer, answer))
        return response


async def ask(address: str, asked_by: bytes) -> bytes:
    authority, _, path = address.removeprefix("http://").partition("/")
    request, _ = Request.new(Fields.from_list([("x-asked-by", asked_by)]), None, none(), None)
    request.set_scheme(Scheme_Http())
    request.set_authority(authority)
    request.set_path_with_query("/" + path)
    response = await client.send(request)
    return str(response.get_status_code()).encode() + b" " + await body_of(Response, response)


def none():
    return trailers(lambda: Ok(None))[1]


async def body_of(kind, message) -> bytes:
    stream, _ = kind.consume_body(message, done(lambda: Ok(None))[1])
    parts = []
    with stream:
        while not stream.writer_dropped:
            parts.append(await stream.read(CHUNK_BYTES))
    return b"".join(parts)


async def write(writer, answer: bytes) -> None:
    with writer:
        await writer.write_all(answer)
