//! Tests that only RabbitMQ needs: its topology, its connections, and messages of other clients.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A fault fails the test.

mod losses;
mod sharing;
mod topology;
mod work;

use futures::future::LocalBoxFuture;
use wasmpost_tests::servers::virtual_hosts::{self, VirtualHost};

type Case = (&'static str, fn(VirtualHost) -> LocalBoxFuture<'static, ()>);

macro_rules! cases {
    ($($module:ident::$name:ident,)*) => {
        const CASES: &[Case] = &[$((stringify!($name), |host| Box::pin($module::$name(host))),)*];
    };
}

cases! {
    topology::a_queue_that_differs_is_an_error_that_says_in_what,
    topology::a_refused_user_is_told_and_no_secret_is_shown,
    topology::an_encrypted_connection_is_checked_against_the_authority_that_is_given,
    topology::a_message_that_no_queue_takes_is_an_error_and_the_next_one_finds_a_queue,
    topology::a_name_that_does_not_fit_is_refused,
    topology::messages_of_other_clients_come_with_their_headers_and_keep_one_id,
    topology::attributes_that_fit_into_no_frame_arrive,
    topology::looking_at_queues_waits_for_no_lock_and_sees_those_of_other_hosts,
    losses::serving_goes_on_after_a_restart_of_the_server,
    losses::serving_goes_on_after_the_connection_was_cut,
    losses::serving_goes_on_after_the_queue_was_deleted,
    losses::a_lease_of_a_connection_that_was_cut_is_stale,
    losses::a_message_that_ends_its_hosts_again_and_again_is_quarantined,
    sharing::two_hosts_share_the_messages_of_a_queue,
    sharing::a_host_that_has_what_it_asked_for_takes_no_more,
    sharing::messages_not_asked_for_go_back_when_nobody_pulls,
    sharing::a_delay_of_several_hops_is_not_shortened_by_another_host,
}

fn main() {
    virtual_hosts::run(|server| {
        let trial = |(number, (name, case)): (usize, &Case)| {
            let case = *case;
            virtual_hosts::trial((*name).to_owned(), server.clone(), move |server| case(server.virtual_host(number)))
        };
        CASES.iter().enumerate().map(trial).collect()
    });
}
