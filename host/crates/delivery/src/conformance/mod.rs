//! The suite that every broker passes: what [`Broker`](crate::Broker) promises, one case for each promise.
//!
//! A broker's tests bring a [`Harness`] and run every case of [`cases`]. A case that needs what the broker says it
//! cannot do is not among those that [`Case::fits`].
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A broken promise fails a test by panicking.

mod dead_letters;
mod fixture;
mod leasing;
mod ordering;
mod outbox;
mod publishing;
mod quotas;

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::{Broker, Capabilities, Clock};
pub use fixture::Fixture;

/// What a broker brings to the suite.
#[async_trait]
pub trait Harness: Send + Sync {
    /// A new, empty broker that tells due times by `clock`.
    async fn broker(&self, clock: Clock) -> Arc<dyn Broker>;
}

/// One promise, and how it is put to the test.
#[derive(Clone, Copy)]
pub struct Case {
    /// The promise, as a sentence with underscores.
    pub name: &'static str,
    needs: fn(&Capabilities) -> bool,
    run: fn(Fixture) -> BoxFuture<'static, ()>,
}

impl Case {
    /// Whether the broker says that it can do what the case needs.
    pub fn fits(&self, capabilities: &Capabilities) -> bool {
        (self.needs)(capabilities)
    }

    /// Puts a broker to the test; panics when it breaks the promise.
    pub async fn run(&self, harness: &dyn Harness) {
        let clock = Clock::manual();
        let broker = harness.broker(clock.clone()).await;
        (self.run)(Fixture::new(Arc::clone(&broker), clock)).await;
        broker.close().await.unwrap();
    }
}

macro_rules! cases {
    ($($module:ident::$name:ident $(needs $capability:ident)?,)*) => {
        /// All cases.
        pub fn cases() -> Vec<Case> {
            vec![$(Case {
                name: stringify!($name),
                needs: |capabilities| { let _ = capabilities; true $(&& capabilities.$capability)? },
                run: |fixture| Box::pin($module::$name(fixture)),
            },)*]
        }
    };
}

cases! {
    publishing::a_message_is_delivered_as_it_was_published,
    publishing::an_empty_body_is_a_message,
    publishing::messages_without_a_key_are_delivered_in_publish_order,
    publishing::a_second_publication_of_an_id_within_the_window_adds_nothing needs deduplication,
    publishing::an_id_is_forgotten_after_the_window needs deduplication,
    publishing::several_queues_on_one_topic_each_get_every_message,
    publishing::a_topic_without_a_queue_keeps_its_messages_until_one_takes_them,
    publishing::a_queue_that_is_declared_again_keeps_its_messages_and_changes_its_topics,
    publishing::a_delayed_message_waits_for_its_time needs delays,
    publishing::an_expired_message_is_not_delivered_but_counted needs ttl,
    publishing::what_cannot_be_published_is_refused_by_name_and_nothing_of_its_batch_stays,
    publishing::a_wrong_name_of_a_queue_is_refused,
    leasing::a_leased_message_is_not_delivered_to_another,
    leasing::an_acked_message_is_gone,
    leasing::a_nacked_message_returns_after_its_delay_and_counts_a_failure,
    leasing::an_uncounted_nack_counts_a_delivery_and_no_failure,
    leasing::a_dropped_lease_is_given_back_uncounted,
    leasing::a_lapsed_lease_counts_a_failure_and_cannot_be_settled,
    leasing::a_renewed_lease_does_not_lapse,
    leasing::a_pull_waits_until_a_message_comes,
    leasing::a_dropped_pull_loses_nothing,
    leasing::a_pull_takes_no_more_than_asked,
    leasing::many_pulls_at_once_get_each_message_once,
    leasing::a_drained_queue_has_nothing_ready_delayed_or_leased,
    leasing::a_closed_broker_ends_waiting_pulls_and_refuses_calls,
    ordering::messages_with_one_key_are_delivered_one_at_a_time_in_publish_order needs ordering_keys,
    ordering::a_failing_message_blocks_its_own_key_alone needs ordering_keys,
    ordering::a_dead_message_frees_its_key needs ordering_keys,
    quotas::a_tenant_that_has_as_much_as_it_may_gets_no_more needs quotas,
    quotas::dead_letters_count_until_they_are_purged needs quotas,
    quotas::what_a_file_had_before_counts needs quotas,
    outbox::an_ack_publishes_its_outbox needs transactional_outbox,
    outbox::a_stale_ack_publishes_nothing needs transactional_outbox,
    dead_letters::a_rejected_message_becomes_a_dead_letter_with_its_evidence,
    dead_letters::a_dead_letter_tells_every_attempt,
    dead_letters::filters_tell_dead_letters_apart,
    dead_letters::a_redriven_message_is_delivered_again_with_no_failures,
    dead_letters::a_purged_dead_letter_is_gone,
    dead_letters::stats_count_what_lies_where,
}
