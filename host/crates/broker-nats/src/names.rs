//! How queues, partitions and streams are named on the server.

use wasmpost_delivery::{BrokerError, BrokerErrorKind};

/// The partition of messages without an ordering key.
pub(crate) const FREE: &str = "free";
/// The longest token that names a consumer as it is; a longer one is cut and told apart by a hash.
const CONSUMER_TOKEN_MAX: usize = 200;

/// The names that belong to one stream.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// The stream of messages, which the others are named after.
    pub(crate) stream: String,
}

impl Names {
    pub(crate) fn new(stream: &str) -> Result<Self, BrokerError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if stream.is_empty() || stream.len() > 64 || !stream.bytes().all(fits) {
            let fault = format!("stream {stream:?} is not 1 to 64 letters, digits or any of - _");
            return Err(BrokerError::new(BrokerErrorKind::Invalid, fault));
        }
        Ok(Self { stream: stream.to_owned() })
    }

    /// The stream of dead letters.
    pub(crate) fn dead(&self) -> String {
        format!("{}_dead", self.stream)
    }

    /// The stream of what earlier attempts came to.
    pub(crate) fn attempts(&self) -> String {
        format!("{}_attempts", self.stream)
    }

    /// The stream that tells which queues there are.
    pub(crate) fn queues(&self) -> String {
        format!("{}_queues", self.stream)
    }

    pub(crate) fn message_subject(&self, queue: &str, partition: &str) -> String {
        format!("{}.{}.{partition}", self.stream, token(queue))
    }

    /// The subject of all messages of a queue.
    pub(crate) fn queue_filter(&self, queue: &str) -> String {
        format!("{}.{}.*", self.stream, token(queue))
    }

    pub(crate) fn dead_subject(&self, queue: &str) -> String {
        format!("{}.{}", self.dead(), token(queue))
    }

    pub(crate) fn attempts_subject(&self, queue: &str, sequence: u64) -> String {
        format!("{}.{}.{sequence}", self.attempts(), token(queue))
    }

    pub(crate) fn spec_subject(&self, queue: &str) -> String {
        format!("{}.spec.{}", self.queues(), token(queue))
    }

    pub(crate) fn expired_subject(&self, queue: &str) -> String {
        format!("{}.expired.{}", self.queues(), token(queue))
    }

    /// The queue that a subject of messages or dead letters belongs to.
    pub(crate) fn queue_of(subject: &str) -> Option<String> {
        name(subject.split('.').nth(1)?)
    }
}

/// The consumer of one partition of a queue.
pub(crate) fn consumer(queue: &str, partition: &str) -> String {
    let token = token(queue);
    match token.get(..CONSUMER_TOKEN_MAX) {
        Some(start) if token.len() > CONSUMER_TOKEN_MAX => {
            format!("{start}-{:016x}-{partition}", hash(queue.as_bytes()))
        }
        _ => format!("{token}-{partition}"),
    }
}

/// The partition of an ordering key, of so many. Every version of every host must agree on it.
pub(crate) fn partition(key: Option<&str>, partitions: u64) -> String {
    match key {
        Some(key) if partitions > 0 => (hash(key.as_bytes()) % partitions).to_string(),
        _ => FREE.to_owned(),
    }
}

/// A name as one token of a subject. Names have letters, digits and `._-/:@`; a token has no dot, and as a part of a
/// consumer's name no slash.
pub(crate) fn token(name: &str) -> String {
    let mut token = String::with_capacity(name.len() + 8);
    for letter in name.chars() {
        match letter {
            '_' => token.push_str("__"),
            '.' => token.push_str("_d"),
            '/' => token.push_str("_s"),
            ':' => token.push_str("_c"),
            '@' => token.push_str("_a"),
            other => token.push(other),
        }
    }
    token
}

/// The name of a token.
fn name(token: &str) -> Option<String> {
    let mut name = String::with_capacity(token.len());
    let mut letters = token.chars();
    while let Some(letter) = letters.next() {
        name.push(match letter {
            '_' => match letters.next()? {
                '_' => '_',
                'd' => '.',
                's' => '/',
                'c' => ':',
                'a' => '@',
                _ => return None,
            },
            other => other,
        });
    }
    Some(name)
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one_token_that_tells_it_again() {
        for plain in ["orders", "a.b_c-d/e:f", "@acme/orders.new", "__", "a_d"] {
            let token = token(plain);
            assert!(!token.contains(['.', '/', '@', ':']), "{token}");
            assert_eq!(name(&token).as_deref(), Some(plain));
        }
        assert_eq!(name("a_x"), None);
    }

    #[test]
    fn a_key_has_the_same_partition_in_every_version() {
        let of = |key| partition(Some(key), 8);
        assert_eq!([of("a"), of("b"), of("customer 7")], ["4", "5", "4"].map(str::to_owned));
        assert_eq!(partition(None, 8), FREE);
        assert_eq!(partition(Some("a"), 0), FREE);
    }

    #[test]
    fn long_names_have_consumers_of_their_own() {
        let one = "q".repeat(255);
        let two = format!("{}r", "q".repeat(254));
        assert_ne!(consumer(&one, FREE), consumer(&two, FREE));
        assert!(consumer(&one, FREE).len() < 255);
    }

    #[test]
    fn a_stream_with_a_dot_is_refused() {
        assert!(Names::new("a.b").is_err() && Names::new("").is_err() && Names::new("orders_2").is_ok());
    }
}
