"""Sorts the webhooks of GitHub: each is published to the topic of its event, `github.<event>`."""

import json
import re

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import store, topic
from wit_world.imports.logging import Level, log
from wit_world.imports.types import Failure_Reject, Failure_Retry, Failure_RetryAfter, Message

# Attributes that go on to the next topic.
FORWARDED = ("Content-Type", "X-Github-Delivery", "X-Github-Event", "X-Github-Tag")


class Receiver(exports.Receiver):
    def receive(self, message: Message) -> None:
        """Raising Err ends the delivery as it says; any other exception is a crash, which the log tells."""
        event = event_of(message)
        body = message.body()
        webhook = {} if message.attribute("Content-Type") == "application/octet-stream" else parse(body)
        if webhook.get("poison") is True:
            raise RuntimeError("poison message")
        if event == "fork" and message.attempt() == 1:
            raise Err(Failure_RetryAfter((retry_after_ms() * 1_000_000, "fork is not ready yet")))

        destination = f"github.{event}"
        try:
            topic.publish(destination, attributes(message, webhook), body)
        except Err as refused:
            raise Err(Failure_Retry(f"not published: {refused.value}")) from refused
        log(Level.INFO, "triage", f"{message.id()} to {destination}")


def event_of(message: Message) -> str:
    event = message.attribute("X-Github-Event")
    if event is None:
        raise Err(Failure_Reject("attribute X-Github-Event is missing"))
    if not re.fullmatch(r"[A-Za-z0-9_]+", event):
        raise Err(Failure_Reject(f"attribute X-Github-Event is no event: {json.dumps(event)}"))
    return event.lower()


def parse(body: bytes) -> dict:
    try:
        webhook = json.loads(body.decode())
    except ValueError as fault:
        raise Err(Failure_Reject(f"body is not JSON: {fault}")) from fault
    if not isinstance(webhook, dict):
        raise Err(Failure_Reject("body is JSON, but no object"))
    return webhook


def attributes(message: Message, webhook: dict) -> list[tuple[str, list[str]]]:
    """What later receivers can tell webhooks apart by without parsing them again."""
    told = [(name, values) for name, values in message.attributes() if name in FORWARDED]
    repository = webhook.get("repository")
    full_name = repository.get("full_name") if isinstance(repository, dict) else None
    for name, value in (("Action", webhook.get("action")), ("Repository", full_name)):
        if isinstance(value, str):
            # JSON may hold half of a surrogate pair, which no attribute can.
            whole = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            told.append((name, [whole]))
    return told


def retry_after_ms() -> int:
    given = store.get("retry_after_ms")
    if given is None:
        return 2000
    if not re.fullmatch(r"[0-9]+", given):
        raise Err(Failure_Reject(f"retry_after_ms is no number: {json.dumps(given)}"))
    return int(given)
