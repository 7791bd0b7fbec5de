//! Dead letters in memory.

use async_trait::async_trait;

use super::MemoryBroker;
use crate::{BrokerError, DeadLetter, DeadLetterFilter, DeadLetters, Page};

#[async_trait]
impl DeadLetters for MemoryBroker {
    async fn show(&self, filter: &DeadLetterFilter, skip: usize, max: usize) -> Result<Vec<DeadLetter>, BrokerError> {
        let state = self.open()?;
        let mut page = Page::new(max);
        let mut meant = state.dead().filter(|letter| filter.matches(letter)).skip(skip);
        while meant.next().is_some_and(|letter| page.add(letter.clone())) {}
        Ok(page.into_letters())
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
