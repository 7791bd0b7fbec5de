//! The suite that every broker passes: what [`Broker`] promises, one case for each promise.
//!
//! A broker's tests bring a [`Harness`] and run every case of [`cases`] that [`Case::fits`] it: a case that needs what
//! the broker says it cannot do does not. Cases count time in seconds, as long as [`Time`] says.
//!
//! # Examples
//!
//! ```
//! use std::sync::Arc;
//!
//! use async_trait::async_trait;
//! use wasmpost_delivery::conformance::{Harness, cases};
//! use wasmpost_delivery::memory::{MemoryBroker, MemoryOptions};
//! use wasmpost_delivery::{Broker, Capabilities, Clock};
//!
//! struct Memory;
//!
//! #[async_trait]
//! impl Harness for Memory {
//!     fn capabilities(&self) -> Capabilities {
//!         Capabilities::in_memory()
//!     }
//!
//!     async fn broker(&self, clock: Clock) -> Arc<dyn Broker> {
//!         Arc::new(MemoryBroker::new(MemoryOptions { clock, ..MemoryOptions::default() }))
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! for case in cases().into_iter().filter(|case| case.fits(&Memory)).take(3) {
//!     println!("{}", case.name);
//!     case.run(Arc::new(Memory)).await;
//! }
//! # }
//! ```
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A broken promise fails a test by panicking.

mod dead_letters;
mod fixture;
mod leasing;
mod ordering;
mod outbox;
mod publishing;
mod quotas;
mod sharing;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::broker::{Broker, Capabilities};
use crate::clock::Clock;
pub use fixture::Fixture;

/// How long an id must be remembered at least, and how long at most, by a broker that lives by real time, in seconds of
/// the suite.
pub const WINDOW_SECONDS: (u32, u32) = (15, 30);

/// The part of the suite that a broker implements.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The capabilities of its brokers.
    fn capabilities(&self) -> Capabilities;

    /// How time passes for its brokers.
    fn time(&self) -> Time {
        Time::Manual
    }

    /// A new, empty broker that tells due times by `clock`.
    async fn broker(&self, clock: Clock) -> Arc<dyn Broker>;

    /// A connection of another process to the broker that was made last. Called only for shared brokers.
    async fn another(&self, clock: Clock) -> Arc<dyn Broker> {
        let _ = clock;
        panic!("a broker that is shared has a second handle")
    }

    /// Whether it can [restart](Self::restart) what keeps its messages.
    fn restarts(&self) -> bool {
        false
    }

    /// Ends what keeps the messages as a crash does, starts it again, and gives the handle to go on with.
    async fn restart(&self, broker: Arc<dyn Broker>, clock: Clock) -> Arc<dyn Broker> {
        let _ = clock;
        broker
    }
}

/// How time passes for a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// By a clock that stands still until it is advanced.
    Manual,
    /// By itself. A second of the suite takes as long as this.
    Real(Duration),
}

/// One promise, and how it is put to the test.
#[derive(Clone, Copy)]
pub struct Case {
    /// The promise, as a sentence with underscores.
    pub name: &'static str,
    needs: fn(&Needs) -> bool,
    run: fn(Fixture) -> BoxFuture<'static, ()>,
}

/// The capabilities that a case needs.
struct Needs {
    capabilities: Capabilities,
    restarts: bool,
}

impl Case {
    /// Whether the broker says that it can do what the case needs.
    pub fn fits(&self, harness: &dyn Harness) -> bool {
        (self.needs)(&Needs { capabilities: harness.capabilities(), restarts: harness.restarts() })
    }

    /// Puts a broker to the test; panics when it breaks the promise.
    pub async fn run(&self, harness: Arc<dyn Harness>) {
        let clock = match harness.time() {
            Time::Manual => Clock::manual(),
            Time::Real(_) => Clock::system(),
        };
        let broker = harness.broker(clock.clone()).await;
        assert_eq!(broker.capabilities(), harness.capabilities(), "the harness knows its broker");
        (self.run)(Fixture::new(Arc::clone(&broker), clock, Arc::clone(&harness))).await;
        // The harness has what the broker is kept in, which has to be there until it is closed.
        broker.close().await.unwrap();
        drop(harness);
    }
}

macro_rules! cases {
    ($($module:ident::$name:ident $(needs $($need:ident).+)?,)*) => {
        /// All cases.
        pub fn cases() -> Vec<Case> {
            vec![$(Case {
                name: stringify!($name),
                needs: |needs| { let _ = needs; true $(&& needs.$($need).+)? },
                run: |fixture| Box::pin($module::$name(fixture)),
            },)*]
        }
    };
}

cases! {
    publishing::a_message_is_delivered_as_it_was_published,
    publishing::an_empty_body_is_a_message,
    publishing::attributes_keep_their_values_and_their_spelling,
    publishing::messages_without_a_key_are_delivered_in_publish_order,
    publishing::a_second_publication_of_an_id_within_the_window_adds_nothing needs capabilities.deduplication,
    publishing::an_id_is_forgotten_after_the_window needs capabilities.deduplication,
    publishing::a_purged_message_can_be_published_again needs capabilities.purge_forgets_ids,
    publishing::an_id_is_remembered_while_another_queue_has_its_message needs capabilities.deduplication,
    publishing::several_queues_on_one_topic_each_get_every_message,
    publishing::a_topic_without_a_queue_keeps_its_messages_until_one_takes_them,
    publishing::a_queue_that_is_declared_again_keeps_its_messages_and_changes_its_topics,
    publishing::a_delayed_message_waits_for_its_time needs capabilities.delays,
    publishing::an_expired_message_is_not_delivered_but_counted needs capabilities.ttl,
    publishing::what_cannot_be_published_is_refused_by_name_and_nothing_of_its_batch_stays,
    publishing::a_wrong_name_of_a_queue_is_refused,
    leasing::a_leased_message_is_not_delivered_to_another,
    leasing::an_acked_message_is_gone,
    leasing::a_nacked_message_returns_after_its_delay_and_counts_a_failure,
    leasing::a_redelivery_has_its_whole_body_and_all_attributes,
    leasing::an_uncounted_nack_counts_a_delivery_and_no_failure,
    leasing::a_dropped_lease_is_given_back_uncounted,
    leasing::a_lapsed_lease_counts_a_failure_and_cannot_be_settled needs capabilities.lapsing_leases,
    leasing::a_renewed_lease_does_not_lapse needs capabilities.lapsing_leases,
    leasing::a_pull_waits_until_a_message_comes,
    leasing::a_dropped_pull_loses_nothing,
    leasing::a_pull_takes_no_more_than_asked,
    leasing::what_is_pulled_without_waiting_is_leased_like_all_else,
    leasing::many_pulls_at_once_get_each_message_once,
    leasing::a_drained_queue_has_nothing_ready_delayed_or_leased,
    leasing::a_closed_broker_ends_waiting_pulls_and_refuses_calls,
    ordering::messages_with_one_key_are_delivered_one_at_a_time_in_publish_order needs capabilities.ordering_keys,
    ordering::a_failing_message_blocks_those_behind_it_with_its_key needs capabilities.ordering_keys,
    ordering::a_failing_message_blocks_its_own_key_alone needs capabilities.key_isolation,
    ordering::a_dead_message_frees_its_key needs capabilities.ordering_keys,
    quotas::a_tenant_that_has_as_much_as_it_may_gets_no_more needs capabilities.quotas,
    quotas::what_never_has_room_is_told_apart needs capabilities.quotas,
    quotas::a_message_counts_once_however_many_queues_have_it needs capabilities.quotas,
    quotas::topics_that_no_queue_takes_from_are_bounded needs capabilities.quotas,
    quotas::a_topic_whose_messages_have_expired_makes_room needs capabilities.quotas,
    quotas::dead_letters_count_until_they_are_purged needs capabilities.quotas,
    quotas::what_a_file_had_before_counts needs capabilities.quotas,
    outbox::an_ack_publishes_its_outbox,
    outbox::a_stale_ack_publishes_nothing needs capabilities.lapsing_leases,
    dead_letters::a_rejected_message_becomes_a_dead_letter_with_its_evidence,
    dead_letters::a_dead_letter_tells_every_attempt,
    dead_letters::a_dead_letter_keeps_the_last_attempts,
    dead_letters::filters_tell_dead_letters_apart,
    dead_letters::a_list_leaves_bodies_out_and_tells_how_large_they_are,
    dead_letters::a_page_of_dead_letters_ends_by_its_bytes,
    dead_letters::a_redriven_message_is_delivered_again_with_no_failures,
    dead_letters::a_purged_dead_letter_is_gone,
    dead_letters::stats_count_what_lies_where needs capabilities.exact_stats,
    sharing::two_hosts_share_a_queue_without_loss needs capabilities.shared,
    sharing::what_a_host_had_when_it_ended_comes_to_another needs capabilities.shared,
    sharing::what_one_host_declares_holds_for_all needs capabilities.shared,
    sharing::confirmed_messages_survive_a_restart_of_what_keeps_them needs restarts,
}
