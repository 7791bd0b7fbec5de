"""Publishes each message to the topic `out`, as it is."""

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import topic
from wit_world.imports.types import Failure_Reject, Message


class Receiver(exports.Receiver):
    def receive(self, message: Message) -> None:
        body = message.body()
        if not body:
            raise Err(Failure_Reject("the body is empty"))
        topic.publish("out", message.attributes(), body)
