"""A component for `wasi:messaging`: sends each message on to `out`, with its metadata."""

from componentize_py_types import Err
from wishes import wish
from wit_world import exports
from wit_world.imports import producer
from wit_world.imports.types import Client, Error_Other, Message


class IncomingHandler(exports.IncomingHandler):
    def handle(self, message: Message) -> None:
        data = message.data()
        if wish(data) != "echo":
            raise Err(Error_Other("not now"))
        out = Message(data)
        content_type = message.content_type()
        if content_type is not None:
            out.set_content_type(content_type)
        out.set_metadata(message.metadata() or [])
        out.add_metadata("From", message.topic() or "")
        out.remove_metadata("Secret")
        producer.send(Client.connect("default"), "out", out)
