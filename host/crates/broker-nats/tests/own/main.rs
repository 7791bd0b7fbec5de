//! Tests that only NATS needs: checks at the start, authentication, reconnects, and hosts that share a queue.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::print_stderr)] // A fault fails the test.

mod access;
mod core;
mod delivering;
mod sharing;
mod starting;

use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use wasmpost_broker_nats::NatsBroker;
use wasmpost_delivery::{Access, Broker, BrokerError, Delivery, Queue};
use wasmpost_msg::{Attributes, Publication};
use wasmpost_tests::PATIENCE;
use wasmpost_tests::servers::NatsServer;

async fn open(server: &NatsServer, rest: &str) -> Result<Arc<NatsBroker>, BrokerError> {
    NatsBroker::open(&format!("{}{rest}", server.url()), &Access::default()).await
}

fn publication(topic: &str, body: &str) -> Publication {
    Publication { id: Some(body.to_owned()), ..Publication::new(topic, Attributes::new(), body.to_owned()) }
}

async fn publish(broker: &NatsBroker, topic: &str, body: &str) {
    broker.publish(vec![publication(topic, body)]).await.unwrap();
}

async fn next(queue: &Arc<dyn Queue>) -> Delivery {
    in_time(queue.pull(1)).await.unwrap().pop().unwrap()
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("answer in time")
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let missing = runtime.block_on(NatsServer::start()).err().filter(|error| error.contains("missing"));
    if let Some(missing) = &missing {
        eprintln!("ignored: {missing}");
    }
    macro_rules! trials {
        ($($module:ident::$name:ident,)*) => {
            vec![$(Trial::test(stringify!($name), || in_runtime($module::$name())).with_ignored_flag(missing.is_some()),)*]
        };
    }
    let trials = trials![
        starting::a_stream_that_differs_is_refused_by_its_field_and_changed_when_asked,
        starting::a_consumer_that_differs_is_refused_by_its_field_and_changed_when_asked,
        starting::a_missing_stream_is_not_made_when_told_not_to,
        starting::hosts_that_disagree_on_partitions_are_refused,
        starting::a_server_that_is_not_there_is_named,
        access::user_and_password_let_a_host_in,
        access::a_token_lets_a_host_in,
        access::a_certificate_of_an_own_authority_is_trusted_and_asked_for,
        delivering::a_waiting_pull_goes_on_when_the_server_comes_back,
        delivering::publishing_goes_on_when_the_server_comes_back,
        delivering::an_outbox_that_is_published_twice_is_stored_once,
        delivering::a_message_whose_leases_lapse_three_times_in_a_row_is_dead,
        delivering::a_dead_letter_keeps_its_evidence_when_the_server_restarts,
        delivering::messages_of_another_program_are_delivered_with_their_headers,
        delivering::a_stream_that_is_full_says_so,
        delivering::messages_that_the_server_will_never_take_are_refused,
        delivering::messages_that_nobody_pulls_are_given_back_uncounted,
        delivering::a_consumer_that_was_deleted_is_made_again,
        core::a_message_without_a_stream_comes_once_to_one_of_a_group,
        core::a_message_without_a_stream_cannot_be_delayed,
        sharing::messages_of_one_key_are_in_flight_one_at_a_time_in_two_hosts,
        sharing::a_queue_that_one_host_declares_is_known_to_the_others,
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn in_runtime(test: impl Future<Output = ()>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(test);
    Ok(())
}
