//! Why a message was not processed, and what becomes of it.

use std::error::Error;
use std::time::Duration;

use crate::bindings::wasmpost::messaging::types;

/// Why a message was not processed, and what becomes of it. Any error becomes one by `?`, and is a retry.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The message is handed over again, when the retry policy says.
    Retry(String),
    /// The message is handed over again, not before this time has passed.
    RetryAfter(Duration, String),
    /// Handing the message over again is useless: it is dead-lettered now.
    Reject(String),
}

/// Says what becomes of a message when something fails, where `?` alone would say retry.
pub trait OrFail<T> {
    /// The message is handed over again, when the retry policy says.
    fn or_retry(self) -> Result<T, Failure>;

    /// The message is handed over again, not before this time has passed.
    fn or_retry_after(self, delay: Duration) -> Result<T, Failure>;

    /// Handing the message over again is useless: it is dead-lettered now.
    fn or_reject(self) -> Result<T, Failure>;
}

impl Failure {
    /// The message is handed over again, when the retry policy says.
    pub fn retry(why: impl Into<String>) -> Self {
        Self::Retry(why.into())
    }

    /// The message is handed over again, not before this time has passed.
    pub fn retry_after(delay: Duration, why: impl Into<String>) -> Self {
        Self::RetryAfter(delay, why.into())
    }

    /// Handing the message over again is useless: it is dead-lettered now.
    pub fn reject(why: impl Into<String>) -> Self {
        Self::Reject(why.into())
    }
}

/// An error and what caused it, in one line.
fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Retry(told(&error))
    }
}

impl<T, E: Into<Box<dyn Error>>> OrFail<T> for Result<T, E> {
    fn or_retry(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::Retry(told(&*error.into())))
    }

    fn or_retry_after(self, delay: Duration) -> Result<T, Failure> {
        self.map_err(|error| Failure::RetryAfter(delay, told(&*error.into())))
    }

    fn or_reject(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::Reject(told(&*error.into())))
    }
}

impl From<Failure> for types::Failure {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Retry(why) => Self::Retry(why),
            Failure::RetryAfter(delay, why) => Self::RetryAfter((nanoseconds(delay), why)),
            Failure::Reject(why) => Self::Reject(why),
        }
    }
}

/// The duration in the unit of the contract, cut to the longest that it can express.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);

    impl std::fmt::Display for Outer {
        fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("no number")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    fn parsed(text: &str) -> Result<u32, Outer> {
        text.parse().map_err(Outer)
    }

    #[test]
    fn an_error_that_is_passed_on_is_a_retry_that_tells_its_causes() {
        let receive = || -> Result<u32, Failure> { Ok(parsed("x")?) };
        assert_eq!(receive(), Err(Failure::retry("no number: invalid digit found in string")));
    }

    #[test]
    fn an_error_is_what_it_is_said_to_be() {
        let second = Duration::from_secs(1);
        let text = "no number: invalid digit found in string";
        assert_eq!(parsed("x").or_retry(), Err(Failure::retry(text)));
        assert_eq!(parsed("x").or_retry_after(second), Err(Failure::retry_after(second, text)));
        assert_eq!(parsed("x").or_reject(), Err(Failure::reject(text)));
        assert_eq!(parsed("7").or_reject(), Ok(7));
    }

    #[test]
    fn texts_and_boxed_errors_can_be_errors() {
        assert_eq!(Err::<(), _>("no").or_reject(), Err(Failure::reject("no")));
        let boxed: Result<(), Box<dyn Error>> = Err("no".into());
        assert_eq!(boxed.or_retry(), Err(Failure::retry("no")));
    }

    #[test]
    fn a_delay_longer_than_the_contract_can_say_is_the_longest() {
        assert_eq!(nanoseconds(Duration::MAX), u64::MAX);
        assert_eq!(nanoseconds(Duration::from_millis(3)), 3_000_000);
    }
}
