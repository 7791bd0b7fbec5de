//! The fate of every published message: I1, I2, I17.

use wasmpost_msg::Publication;

use super::ledger::{Ledger, Sent, origin};
use crate::guest::UNCLOSED;
use crate::history::What;
use crate::host::QUEUES;

/// I1: confirmed publishes are acked, dead, expired or purged at the end, and none is left otherwise.
pub fn all_is_accounted_for(ledger: &Ledger<'_>) -> Vec<String> {
    let unreadable = ledger.trouble.iter().filter(|what| matches!(what, What::Unreadable { .. }));
    let mut found: Vec<_> = unreadable.map(|what| format!("{what:?}")).collect();
    let Some((_, expired, left)) = ledger.end else { return found };
    if left > 0 {
        found.push(format!("{left} messages are left"));
    }
    let mut surely = 0;
    let mut maybe = 0;
    for (queue, _) in QUEUES {
        for sent in ledger.sent_to(queue) {
            let (has_ended, may_have_ended) = ends(ledger, queue, sent);
            if sent.message.ttl.is_some() {
                surely += u64::from(sent.confirmed && !may_have_ended);
                // A message that is published again after a purge may expire as well.
                maybe += u64::from(!has_ended || ledger.was_purged(queue, sent.id));
            } else if sent.confirmed && !may_have_ended {
                found.push(format!("{queue} {:?} was confirmed and is lost", sent.id));
            }
        }
    }
    if !(surely..=maybe).contains(&expired) {
        found.push(format!("{expired} messages expired, {surely} to {maybe} can have"));
    }
    found
}

/// Whether a message ended otherwise than by its time to live, and whether it may have.
fn ends(ledger: &Ledger<'_>, queue: &str, sent: &Sent<'_>) -> (bool, bool) {
    let is_gone = ledger.is_dead(queue, sent.id) || ledger.was_purged(queue, sent.id);
    let acked = ledger.of_message(queue, sent.id).any(|lease| lease.is_ack() && lease.durable.is_some());
    let maybe_acked = ledger.of_message(queue, sent.id).any(|lease| lease.is_ack() && lease.may_be_settled());
    (is_gone || acked, is_gone || maybe_acked)
}

/// I2: nothing is delivered, nor dead, but what was published, byte by byte.
pub fn nothing_is_made_up(ledger: &Ledger<'_>) -> Vec<String> {
    let delivered = ledger.leases.iter().map(|lease| (lease.queue(), lease.id(), &lease.taken.message));
    let dead = ledger.dead().iter().map(|dead| (dead.queue.as_str(), dead.id.as_str(), &dead.message));
    let all = delivered.chain(dead);
    all.filter_map(|(queue, id, message)| {
        let fault = match origin(message) {
            Some((source, ..)) => fault_of_published(queue, source, message),
            None => fault_of_sent(ledger, queue, id, message),
        };
        fault.map(|fault| format!("{queue} {id:?} {fault}"))
    })
    .collect()
}

fn fault_of_sent(ledger: &Ledger<'_>, queue: &str, id: &str, message: &Publication) -> Option<&'static str> {
    let Some(sent) = ledger.sent_to(queue).find(|sent| sent.id == id) else { return Some("was never published") };
    let is_same = sent.message.body == message.body
        && sent.message.attributes.iter_spelled().eq(message.attributes.iter_spelled())
        && (&sent.message.key, sent.message.hops) == (&message.key, message.hops);
    (!is_same).then_some("is not what was published")
}

fn fault_of_published(queue: &str, source: &str, message: &Publication) -> Option<&'static str> {
    let chunk = format!("from {source} ");
    let is_whole = (0..3).any(|chunks| message.body == chunk.repeat(chunks));
    let is_same = is_whole && message.hops == 1 && message.key.is_none() && message.attributes.len() == 1;
    (queue == "work" || !is_same).then_some("is not what the receiver published")
}

/// I17: a writer that was dropped unclosed published nothing.
pub fn unclosed_is_unpublished(ledger: &Ledger<'_>) -> Vec<String> {
    let delivered = ledger.leases.iter().map(|lease| (lease.id(), &lease.taken.message));
    let all = delivered.chain(ledger.dead().iter().map(|dead| (dead.id.as_str(), &dead.message)));
    let unclosed =
        all.filter(|(_, message)| message.body.windows(UNCLOSED.len()).any(|part| part == UNCLOSED.as_bytes()));
    unclosed.map(|(id, _)| format!("{id:?} was published by a writer that was never closed")).collect()
}
