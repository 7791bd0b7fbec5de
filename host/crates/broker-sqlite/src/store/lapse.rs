//! Time: leases that lapse, messages that expire, and when to look again.

use wasmpost_delivery::{Attempt, Timestamp};

use super::{ALONE, LEASED, READY, Store};
use crate::error::Outcome;

/// Messages that expire in one go.
const EXPIRED_MAX: i64 = 256;

impl Store {
    /// Whether a lease or a message may have to end now.
    pub(crate) fn is_late(&self, now: Timestamp) -> bool {
        !self.lapsed.is_empty() || self.deadlines.first().is_some_and(|(deadline, _)| *deadline <= now)
    }

    /// Puts back messages whose leases lapsed, counting a failure.
    pub(crate) fn lapse(&mut self) -> Outcome<()> {
        while let Some((deadline, token)) = self.deadlines.first().copied()
            && deadline <= self.now
        {
            self.deadlines.remove(&(deadline, token));
            let Some(leased) = self.leases.get(&token) else { continue };
            match leased.hold.lapse(self.now) {
                Ok(()) => self.lapsed.push(token),
                Err(Some(later)) => drop(self.deadlines.insert((later, token))),
                Err(None) => {}
            }
        }
        for token in self.lapsed.clone() {
            let Some(since) = self.leases.get(&token).map(|leased| leased.since) else { continue };
            let (queue, message) = self.settled(token)?;
            let sql = "SELECT deliveries FROM state WHERE queue = ?1 AND message = ?2";
            let number = self.connection.prepare_cached(sql)?.query_row((queue, message), |row| row.get(0))?;
            self.put_back(queue, message, self.now, Some(Attempt::lapsed(number, since, self.now)))?;
        }
        Ok(())
    }

    /// Ends messages whose time to live is over.
    pub(crate) fn expire_all(&mut self) -> Outcome<()> {
        let sql = format!(
            "SELECT queue, message FROM state \
             WHERE expires_at IS NOT NULL AND status <> {LEASED} AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2"
        );
        let expired: Vec<(i64, i64)> = {
            let mut find = self.connection.prepare_cached(&sql)?;
            let rows = find.query_map((self.now.0 as i64, EXPIRED_MAX), |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<Result<_, _>>()?
        };
        expired.into_iter().try_for_each(|(queue, message)| self.expire(queue, message))
    }

    /// When a message of one of these queues is due next, a lease may lapse, or a message expires.
    pub(crate) fn next_time(&self, queues: impl Iterator<Item = i64>) -> rusqlite::Result<Option<Timestamp>> {
        let mut next = self.deadlines.first().map(|(deadline, _)| *deadline);
        let mut earlier = |time: Option<i64>| {
            let time = time.map(|time| Timestamp(time as u64));
            next = [next, time].into_iter().flatten().min();
        };
        // Each status is written out so that the partial index for it is used.
        let expires = format!("SELECT min(expires_at) FROM state WHERE expires_at IS NOT NULL AND status <> {LEASED}");
        earlier(self.connection.prepare_cached(&expires)?.query_row([], |row| row.get(0))?);
        for queue in queues {
            for status in [READY, ALONE] {
                let sql = format!("SELECT min(due) FROM state WHERE queue = ?1 AND status = {status} AND due > ?2");
                let mut find = self.connection.prepare_cached(&sql)?;
                earlier(find.query_row((queue, self.now.0 as i64), |row| row.get(0))?);
            }
        }
        Ok(next)
    }
}
