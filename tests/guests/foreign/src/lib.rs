//! The work of guests that were written for other hosts: the same in each world, as far as the world supports it.

/// A request in a body.
pub enum Wish {
    /// To be sent on.
    Echo,
    /// To fail, and to be tried again.
    Retry,
    /// To fail for good.
    Reject,
}

/// The request in a body. A body `poison` panics, a body `loop` never ends.
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

/// Bytes from outside, from which a guest draws what it answers: whatever they are, there is an answer.
pub struct Told(std::collections::VecDeque<u8>);

impl Told {
    /// Draws from these bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }

    /// The next byte; zeros behind the end.
    pub fn byte(&mut self) -> u8 {
        self.0.pop_front().unwrap_or(0)
    }

    /// A number of eight bytes.
    pub fn number(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// Up to 31 bytes.
    pub fn bytes(&mut self) -> Vec<u8> {
        let count = usize::from(self.byte() % 32);
        (0..count).map(|_| self.byte()).collect()
    }

    /// Up to 31 bytes, as far as they are text.
    pub fn text(&mut self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// A topic: mostly one that may be published to.
    pub fn topic(&mut self) -> String {
        match self.byte() % 4 {
            0 => self.text(),
            1 => format!("out{}", self.text()),
            _ => "out".to_owned(),
        }
    }

    /// Up to three pairs.
    pub fn pairs(&mut self) -> Vec<(String, String)> {
        (0..self.byte() % 4).map(|_| (self.text(), self.text())).collect()
    }
}
