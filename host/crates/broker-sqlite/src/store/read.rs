//! Reads with any connection: messages as they were stored, and statistics.

use std::collections::HashMap;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension};
use wasmpost_delivery::{QueueStats, Timestamp};
use wasmpost_msg::Attributes;

use super::publish::Row;
use super::{ALONE, BEHIND, LEASED, READY};

/// A message as it was stored.
pub(super) struct Stored {
    pub(super) id: String,
    pub(super) topic: String,
    pub(super) key: Option<String>,
    pub(super) hops: u32,
    pub(super) published_at: Timestamp,
    pub(super) attributes: Attributes,
    pub(super) body: Bytes,
    /// Whether it matches its checksum.
    pub(super) intact: bool,
    pub(super) mark: u64,
}

/// The statistics of each queue at a time.
///
/// Leases are not in the file: `in_flight` has the number of leased messages of each queue.
pub(crate) fn stats(
    connection: &Connection,
    now: Timestamp,
    in_flight: &HashMap<i64, usize>,
) -> rusqlite::Result<Vec<QueueStats>> {
    // Each status is counted with its partial index, which is read instead of the table.
    let count = |status, when: &str| {
        format!("(SELECT count(*) FROM state WHERE queue = queues.id AND status = {status}{when})")
    };
    let counted = |when| [READY, BEHIND, ALONE].map(|status| count(status, when)).join(" + ");
    let ready = counted(" AND due <= ?1");
    let delayed = counted(" AND due > ?1");
    let leased = count(LEASED, "");
    let sql = format!(
        "SELECT name, acked, expired, {ready}, {delayed}, {leased}, \
         (SELECT count(*) FROM dead WHERE dead.queue = queues.name), \
               (SELECT published_at FROM messages WHERE number = \
                (SELECT min(message) FROM state WHERE queue = queues.id)), id \
               FROM queues ORDER BY name"
    );
    let mut find = connection.prepare(&sql)?;
    let rows = find.query_map([now.0 as i64], |row| {
        let queue: i64 = row.get(8)?;
        let in_flight = in_flight.get(&queue).map_or(0, |count| *count as u64);
        let ready = (row.get::<_, i64>(3)? as u64).saturating_sub(in_flight);
        // Messages are leased in the order in which they are due: those in flight are the first.
        let oldest_due = if ready > 0 { due(connection, queue, now, in_flight)? } else { None };
        Ok(QueueStats {
            oldest_due,
            queue: row.get(0)?,
            acked: row.get::<_, i64>(1)? as u64,
            expired: row.get::<_, i64>(2)? as u64,
            ready,
            delayed: row.get::<_, i64>(4)? as u64,
            leased: row.get::<_, i64>(5)? as u64 + in_flight,
            dead: row.get::<_, i64>(6)? as u64,
            oldest: row.get::<_, Option<i64>>(7)?.map(|time| Timestamp(time as u64)),
            ..QueueStats::default()
        })
    })?;
    rows.collect()
}

/// When the oldest message of a queue became due, so many before it left out. One behind another with its key is not due.
fn due(connection: &Connection, queue: i64, now: Timestamp, skip: u64) -> rusqlite::Result<Option<Timestamp>> {
    let mut dues = Vec::new();
    for (status, skip) in [(READY, skip), (ALONE, 0)] {
        let sql = format!(
            "SELECT due FROM state WHERE queue = ?1 AND status = {status} AND due <= ?2 ORDER BY due LIMIT 1 OFFSET ?3"
        );
        let mut find = connection.prepare_cached(&sql)?;
        dues.extend(find.query_row((queue, now.0 as i64, skip as i64), |row| row.get::<_, i64>(0)).optional()?);
    }
    Ok(dues.into_iter().min().map(|due| Timestamp(due as u64)))
}

/// Whether a message can be read and matches its checksum.
pub(crate) fn is_intact(connection: &Connection, message: i64) -> bool {
    matches!(stored(connection, message), Ok(Some(stored)) if stored.intact)
}

/// A message by its number.
pub(super) fn stored(connection: &Connection, message: i64) -> rusqlite::Result<Option<Stored>> {
    let sql = "SELECT id, topic, key, hops, published_at, checksum, attributes, body FROM messages WHERE number = ?1";
    let mut find = connection.prepare_cached(sql)?;
    Ok(find.query_row([message], |row| stored_at(row, 0)).optional()?.flatten())
}

/// The message whose columns begin at a place of a row; `None` if a column has a value of a wrong type.
pub(super) fn stored_at(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Option<Stored>> {
    match read(row, at) {
        Ok(stored) => Ok(Some(stored)),
        Err(rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::FromSqlConversionFailure(..)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn read(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Stored> {
    let id: String = row.get(at)?;
    let topic: String = row.get(at + 1)?;
    let key: Option<String> = row.get(at + 2)?;
    let hops = row.get(at + 3)?;
    let published_at = Timestamp(row.get::<_, i64>(at + 4)? as u64);
    let checksum: Vec<u8> = row.get(at + 5)?;
    let text: String = row.get(at + 6)?;
    let body = Bytes::from(row.get::<_, Vec<u8>>(at + 7)?);
    let parts = Row { id: &id, topic: &topic, key: key.as_deref(), hops, published_at, attributes: &text, body: &body };
    let attributes = serde_json::from_str(&text);
    let intact = parts.checksum()[..] == checksum[..] && attributes.is_ok();
    let attributes = attributes.unwrap_or_default();
    let mark = mark_of(&checksum);
    Ok(Stored { id, topic, key, hops, published_at, attributes, body, intact, mark })
}

/// The mark that identifies a message in the flight file: the beginning of its checksum.
pub(super) fn mark_of(checksum: &[u8]) -> u64 {
    checksum.first_chunk().map_or(0, |mark| u64::from_le_bytes(*mark))
}
