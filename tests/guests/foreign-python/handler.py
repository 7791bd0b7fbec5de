"""A handler of HTTP: answers with the event and the body of the request, or with the status that the body asks for."""

from wishes import wish
from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import streams
from wit_world.imports.types import Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam

CHUNK_BYTES = 4096


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        body = read(request)
        headers = [("content-type", b"text/plain")]
        match wish(body):
            case "retry":
                status = 503
                headers.append(("retry-after", b"3"))
            case "reject":
                status = 400
            case _:
                status = 200
        response = OutgoingResponse(Fields.from_list(headers))
        response.set_status_code(status)
        answer = response.body()
        event = b"".join(request.headers().get("x-github-event"))
        ResponseOutparam.set(response_out, Ok(response))
        whole = event + b": " + body
        with answer.write() as stream:
            for start in range(0, len(whole), CHUNK_BYTES):
                stream.blocking_write_and_flush(whole[start : start + CHUNK_BYTES])
        OutgoingBody.finish(answer, None)


def read(request: IncomingRequest) -> bytes:
    body = b""
    incoming = request.consume()
    with incoming.stream() as stream:
        while True:
            try:
                body += stream.blocking_read(CHUNK_BYTES)
            except Err as end:
                if isinstance(end.value, streams.StreamError_Closed):
                    return body
                raise
