//! Dead letters in memory.

use async_trait::async_trait;

use super::MemoryBroker;
use crate::{BrokerError, DeadLetter, DeadLetterFilter, DeadLetters};

#[async_trait]
impl DeadLetters for MemoryBroker {
    async fn list(&self, filter: &DeadLetterFilter, skip: usize, max: usize) -> Result<Vec<DeadLetter>, BrokerError> {
        let state = self.open()?;
        Ok(state.dead().filter(|letter| filter.matches(letter)).skip(skip).take(max).cloned().collect())
    }

    async fn redrive(&self, filter: &DeadLetterFilter) -> Result<u64, BrokerError> {
        let now = self.now();
        Ok(self.open()?.take_dead(|letter| filter.matches(letter), true, now))
    }

    async fn purge(&self, filter: &DeadLetterFilter) -> Result<u64, BrokerError> {
        let now = self.now();
        Ok(self.open()?.take_dead(|letter| filter.matches(letter), false, now))
    }
}
