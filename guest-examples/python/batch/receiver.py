"""Publishes each message of a batch to the topic `out`, as it is."""

from componentize_py_types import Err, Ok, Result
from wit_world import exports
from wit_world.imports.types import Failure, Failure_Reject, Message


class ReceiverBatch(exports.ReceiverBatch):
    def receive_batch(self, messages: list[Message]) -> list[Result[None, Failure]]:
        # One result for each message, in their order.
        return [handle(message) for message in messages]


def handle(message: Message) -> Result[None, Failure]:
    # Those that are kept are of no use after the call.
    with message:
        body = message.body()
        if not body:
            return Err(Failure_Reject("the body is empty"))
        message.publish("out", message.attributes(), body)
        return Ok(None)
