//! Hosts on brokers that are servers, while things break: one table of faults, and each holds for each broker.
//!
//! A broker whose server is missing is shown as ignored; `make setup-brokers` installs them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A fault fails the test.

mod batches;
mod hosts;
mod network;
mod posting;
mod restarts;
mod scene;

use libtest_mimic::{Arguments, Trial};
use scene::Scene;
use wasmpost_tests::servers::Kind;

/// A fault, and what must hold nevertheless.
type Case = fn(&mut Scene) -> futures::future::LocalBoxFuture<'_, ()>;

macro_rules! cases {
    ($($module:ident::$name:ident,)*) => {
        /// Every case with its name.
        const CASES: &[(&str, Case)] = &[$((stringify!($name), |scene| Box::pin($module::$name(scene)))),*];
    };
}

cases! {
    batches::a_poison_message_in_a_batch_is_found_and_all_others_arrive_once,
    hosts::no_message_is_lost_when_one_of_two_hosts_is_killed,
    hosts::no_message_is_lost_when_one_of_four_hosts_is_killed,
    hosts::a_host_that_is_told_to_stop_leaves_nothing_to_be_done_again,
    hosts::a_confined_host_for_hostile_guests_works_and_finds_its_broker_again,
    restarts::no_message_is_lost_when_the_broker_is_killed_and_comes_back_in_mid_work,
    restarts::messages_confirmed_while_the_broker_is_killed_are_processed,
    posting::a_request_is_refused_while_the_broker_is_away_and_taken_when_it_is_back,
    network::a_slow_network_loses_and_repeats_nothing,
    network::no_message_is_lost_when_connections_are_reset_in_mid_work,
    network::no_message_is_lost_when_the_network_swallows_everything_for_a_time,
}

fn trial(kind: Kind, name: &str, case: Case) -> Trial {
    let run = move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.block_on(async { case(&mut Scene::new(kind).await).await });
        Ok(())
    };
    Trial::test(format!("brokers::{}::{name}", kind.name()), run).with_ignored_flag(kind.missing().is_some())
}

fn main() {
    let trials = Kind::ALL.iter().flat_map(|kind| CASES.iter().map(|(name, case)| trial(*kind, name, *case)));
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}
