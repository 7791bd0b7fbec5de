//! What guests do that were written for other hosts: the same in each world, as far as the world has words for it.

/// What a body asks for.
pub enum Wish {
    /// To be sent on.
    Echo,
    /// To fail, and to be tried again.
    Retry,
    /// To fail for good.
    Reject,
}

/// What this body asks for. A body `poison` panics, a body `loop` never ends.
pub fn wish(body: &[u8]) -> Wish {
    match body {
        b"retry" => Wish::Retry,
        b"reject" => Wish::Reject,
        b"poison" => panic!("poison message"),
        b"loop" => loop {
            std::hint::spin_loop();
        },
        _ => Wish::Echo,
    }
}
