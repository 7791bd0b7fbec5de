//! A rate: how many messages a second are taken.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A number of messages a second. A second's worth can come at once.
#[derive(Debug)]
pub(crate) struct Rate {
    per_second: f64,
    account: Mutex<Account>,
}

#[derive(Debug)]
struct Account {
    /// Messages that may come at once; negative after a batch that was larger.
    messages: f64,
    at: Instant,
}

impl Rate {
    pub(crate) fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second.max(1));
        Self { per_second, account: Mutex::new(Account { messages: per_second, at: Instant::now() }) }
    }

    /// The time until a message may come, if none may now.
    pub(crate) fn wait(&self) -> Option<Duration> {
        self.wait_of(&mut self.account.lock())
    }

    /// Counts messages, if one may come now; otherwise gives the time until one may.
    pub(crate) fn take(&self, messages: usize) -> Result<(), Duration> {
        let mut account = self.account.lock();
        if let Some(wait) = self.wait_of(&mut account) {
            return Err(wait);
        }
        account.messages -= messages as f64;
        Ok(())
    }

    fn wait_of(&self, account: &mut Account) -> Option<Duration> {
        let now = Instant::now();
        let earned = now.duration_since(account.at).as_secs_f64() * self.per_second;
        account.messages = (account.messages + earned).min(self.per_second);
        account.at = now;
        (account.messages < 1.0).then(|| Duration::from_secs_f64((1.0 - account.messages) / self.per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_second_s_worth_comes_at_once_and_a_batch_is_paid_for_afterwards() {
        let rate = Rate::new(2);
        assert_eq!((rate.take(1), rate.take(1)), (Ok(()), Ok(())));
        assert_eq!(rate.take(1), Err(Duration::from_millis(500)));
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!((rate.wait(), rate.take(5)), (None, Ok(())));
        assert_eq!(rate.wait(), Some(Duration::from_millis(2500)));
    }
}
