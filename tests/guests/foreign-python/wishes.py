"""What guests do that were written for other hosts, as `tests/guests/foreign` does it in Rust."""


def wish(body: bytes) -> str:
    """What a body asks for: `retry`, `reject` or `echo`. A body `poison` crashes, a body `loop` never ends."""
    if body == b"poison":
        raise RuntimeError("poison message")
    while body == b"loop":
        pass
    return {b"retry": "retry", b"reject": "reject"}.get(body, "echo")
