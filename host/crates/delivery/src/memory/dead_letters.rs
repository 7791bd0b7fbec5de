//! Dead letters in memory.

use std::collections::HashSet;

use async_trait::async_trait;

use super::MemoryBroker;
use super::state::{Place, Taking};
use crate::dead_letter::{DeadLetter, DeadLetterFilter, DeadLetters, Listed, Page, Paged};
use crate::error::BrokerError;

impl MemoryBroker {
    fn page<T: Paged + From<DeadLetter>>(
        &self,
        filter: &DeadLetterFilter,
        skip: usize,
        max: usize,
    ) -> Result<Vec<T>, BrokerError> {
        let state = self.open()?;
        let is_meant = meant(filter);
        let mut page = Page::new(max);
        let mut meant = state.dead().filter(|letter| is_meant(letter)).skip(skip);
        while meant.next().is_some_and(|letter| page.add(T::from(letter.clone()))) {}
        Ok(page.into_letters())
    }

    /// Removes the dead letters that are meant, or puts them back, some at a time with others in between.
    async fn take_dead(&self, filter: &DeadLetterFilter, put_back: bool) -> Result<u64, BrokerError> {
        let meant = meant(filter);
        let taking = Taking { meant: &meant, before: self.open()?.next(), put_back };
        let mut count: u64 = 0;
        let mut place: Place = Place::default();
        loop {
            let now = self.now();
            let (taken, next) = self.open()?.take_dead(&taking, place, now);
            count += taken;
            let Some(next) = next else { return Ok(count) };
            place = next;
            tokio::task::yield_now().await;
        }
    }
}

/// Whether a letter is meant by a filter, which may have many ids.
fn meant(filter: &DeadLetterFilter) -> impl Fn(&DeadLetter) -> bool {
    let ids: HashSet<&str> = filter.ids.iter().map(String::as_str).collect();
    let rest = filter.of_any_id();
    move |letter| (ids.is_empty() || ids.contains(&*letter.id)) && rest.matches(letter)
}

#[async_trait]
impl DeadLetters for MemoryBroker {
    async fn list(&self, filter: &DeadLetterFilter, skip: usize, max: usize) -> Result<Vec<Listed>, BrokerError> {
        self.page(filter, skip, max)
    }

    async fn show(&self, filter: &DeadLetterFilter, skip: usize, max: usize) -> Result<Vec<DeadLetter>, BrokerError> {
        self.page(filter, skip, max)
    }

    async fn redrive(&self, filter: &DeadLetterFilter) -> Result<u64, BrokerError> {
        self.take_dead(filter, true).await
    }

    async fn purge(&self, filter: &DeadLetterFilter) -> Result<u64, BrokerError> {
        self.take_dead(filter, false).await
    }
}
