//! Ends leases, lapsed ones too, expires messages, and tells when to look again.

use std::collections::HashSet;

use wasmpost_delivery::{Attempt, Timestamp};

use super::{ALONE, LEASED, READY, Store};
use crate::error::Outcome;

/// The most messages that expire at once.
const EXPIRED_MAX: usize = 256;

impl Store {
    /// Releases a lease whose outcome is stored: its message can be read again if it is still there.
    pub(super) fn end_lease(&mut self, token: u64) {
        let Some(channel) = self.channel.upgrade() else { return };
        let Some((leased, place)) = channel.ahead().end(token) else { return };
        if let (Some(flight), Some(place)) = (channel.flight(), place) {
            flight.free(place);
        }
        let (queue, message) = leased.place();
        self.untake(queue, message);
    }

    pub(super) fn untake(&mut self, queue: i64, message: i64) {
        if let Some(taken) = self.taken.get_mut(&queue) {
            taken.remove(&message);
        }
    }

    pub(super) fn is_taken(&self, queue: i64, message: i64) -> bool {
        self.taken.get(&queue).is_some_and(|taken| taken.contains(&message))
    }

    /// Whether a lease may lapse or a message expire now.
    pub(crate) fn is_late(&mut self, now: Timestamp) -> bool {
        self.look_for_lapsed(now);
        !self.lapsed.is_empty() || self.next_expiry.is_some_and(|next| next <= now)
    }

    fn look_for_lapsed(&mut self, now: Timestamp) {
        if let Some(channel) = self.channel.upgrade() {
            self.lapsed.extend(channel.ahead().lapse(now));
        }
    }

    /// Puts back messages whose leases lapsed, counting a failure.
    pub(crate) fn lapse(&mut self) -> Outcome<()> {
        self.look_for_lapsed(self.now);
        for token in self.lapsed.clone() {
            let Some(leased) = self.channel.upgrade().and_then(|channel| channel.ahead().leased(token)) else {
                continue;
            };
            self.settled(token)?;
            let note = leased.hold.note;
            self.put_back(&leased, self.now, Some(Attempt::lapsed(note.deliveries, note.since, self.now)))?;
        }
        Ok(())
    }

    /// Notes that a message expires at a time.
    pub(super) fn expires_by(&mut self, time: Timestamp) {
        self.next_expiry = Some(self.next_expiry.map_or(time, |next| next.min(time)));
    }

    /// Ends messages whose time to live is over, unless they are leased.
    pub(crate) fn expire_all(&mut self) -> Outcome<()> {
        if self.next_expiry.is_none_or(|next| self.now < next) {
            return Ok(());
        }
        let Some(channel) = self.channel.upgrade() else { return Ok(()) };
        // Leased messages may be among them.
        let max = EXPIRED_MAX + channel.ahead().leases().len();
        let sql = format!(
            "SELECT queue, message, expires_at FROM state \
             WHERE expires_at IS NOT NULL AND status <> {LEASED} ORDER BY expires_at LIMIT ?1"
        );
        let expiring: Vec<(i64, i64, i64)> = {
            let mut find = self.connection.prepare_cached(&sql)?;
            let rows = find.query_map([max as i64], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            rows.collect::<Result<_, _>>()?
        };
        // A message that was put back in this group is leased until the commit.
        let put_back = self.changes.settled.iter().filter_map(|token| channel.ahead().leased(*token));
        let put_back: HashSet<(i64, i64)> = put_back.map(|leased| leased.place()).collect();
        // If all of these have expired, more may have.
        let mut next = (expiring.len() == max).then_some(self.now);
        for (queue, message, expires_at) in expiring {
            let expires_at = Timestamp(expires_at as u64);
            if self.now < expires_at {
                if put_back.contains(&(queue, message)) || !channel.ahead().is_leased(queue, message) {
                    next = Some(expires_at);
                    break;
                }
                continue;
            }
            if self.is_taken(queue, message) && !put_back.contains(&(queue, message)) {
                if !channel.ahead().withdraw(queue, message) {
                    continue;
                }
                self.changes.over.push((queue, message));
            }
            self.expire(queue, message)?;
        }
        self.next_expiry = next;
        Ok(())
    }

    /// When a message of one of these queues is due next, a lease may lapse, or a message expires.
    pub(crate) fn next_time(&self, queues: impl Iterator<Item = i64>) -> rusqlite::Result<Option<Timestamp>> {
        let look_at = self.channel.upgrade().and_then(|channel| channel.ahead().look_at());
        let mut next = [look_at, self.next_expiry].into_iter().flatten().min();
        let mut earlier = |time: Option<i64>| {
            let time = time.map(|time| Timestamp(time as u64));
            next = [next, time].into_iter().flatten().min();
        };
        for queue in queues {
            // Each status is a literal, so that its partial index is used.
            for status in [READY, ALONE] {
                let sql = format!("SELECT min(due) FROM state WHERE queue = ?1 AND status = {status} AND due > ?2");
                let mut find = self.connection.prepare_cached(&sql)?;
                earlier(find.query_row((queue, self.now.0 as i64), |row| row.get(0))?);
            }
        }
        Ok(next)
    }
}
