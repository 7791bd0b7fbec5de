//! Lists dead letters in pages.

use bytes::Bytes;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use wasmpost_delivery::{Attempt, DeadLetter, DeadLetterFilter, Evidence, Listed, Page, Paged, Timestamp};
use wasmpost_msg::{Attributes, Reason};

use super::dead::{lossy, whole};
use super::read::{Stored, stored};

/// A request for a page of dead letters.
pub(crate) struct Asked {
    pub(crate) filter: DeadLetterFilter,
    pub(crate) skip: usize,
    /// Only letters with a larger number.
    pub(crate) after: Option<i64>,
    pub(crate) max: usize,
}

/// A row of the table `dead`.
pub(crate) struct Letter {
    number: i64,
    queue: String,
    message: i64,
    deliveries: u32,
    id: String,
    reason: String,
    dead_at: Timestamp,
    evidence: String,
    attempts: String,
}

/// The requested page, oldest first, each letter read with `read`, and the number of its last one.
pub(crate) fn page<T: Paged>(
    connection: &Connection,
    asked: &Asked,
    read: fn(&Connection, &Letter) -> rusqlite::Result<T>,
) -> rusqlite::Result<(Vec<T>, Option<i64>)> {
    let Asked { filter, skip, after, max } = asked;
    let (conditions, mut values) = conditions(filter, *after);
    values.extend([*max, *skip].map(|number| Value::from(i64::try_from(number).unwrap_or(i64::MAX))));
    let sql = format!(
        "SELECT number, queue, message, deliveries, id, reason, dead_at, evidence, attempts FROM dead \
         WHERE {conditions} ORDER BY number LIMIT ? OFFSET ?"
    );
    let mut find = connection.prepare(&sql)?;
    let mut page = Page::new(*max);
    let mut numbers = Vec::new();
    for letter in find.query_map(params_from_iter(values), letter)? {
        let letter = letter?;
        numbers.push(letter.number);
        if !page.add(read(connection, &letter)?) {
            break;
        }
    }
    let letters = page.into_letters();
    let last = letters.len().checked_sub(1).and_then(|last| numbers.get(last).copied());
    Ok((letters, last))
}

/// The conditions on a row of the table `dead`, with their values.
fn conditions(filter: &DeadLetterFilter, after: Option<i64>) -> (String, Vec<Value>) {
    let mut conditions = vec!["number > ?"];
    let mut values: Vec<Value> = vec![after.unwrap_or(i64::MIN).into()];
    if !filter.ids.is_empty() {
        // One parameter for any number of ids.
        conditions.push("id IN (SELECT value FROM json_each(?))");
        values.push(serde_json::to_string(&filter.ids).unwrap_or_default().into());
    }
    if let Some(queue) = &filter.queue {
        conditions.push("queue = ?");
        values.push(queue.clone().into());
    }
    if let Some(reason) = filter.reason {
        conditions.push("reason = ?");
        values.push(reason.as_str().to_owned().into());
    }
    (conditions.join(" AND "), values)
}

/// How many letters are meant, counted up to `max`.
pub(crate) fn count(connection: &Connection, filter: &DeadLetterFilter, max: u64) -> rusqlite::Result<u64> {
    let (conditions, mut values) = conditions(filter, None);
    values.push(i64::try_from(max).unwrap_or(i64::MAX).into());
    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM dead WHERE {conditions} LIMIT ?)");
    let count: i64 = connection.query_row(&sql, params_from_iter(values), |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// A letter with its body.
pub(crate) fn show(connection: &Connection, letter: &Letter) -> rusqlite::Result<DeadLetter> {
    let stored = stored(connection, letter.message)?;
    Ok(letter.with(stored.unwrap_or_else(|| letter.without_message())))
}

/// A letter without its body, which is not read.
pub(crate) fn list(connection: &Connection, letter: &Letter) -> rusqlite::Result<Listed> {
    let sql = "SELECT topic, key, hops, published_at, attributes, length(body) FROM messages WHERE number = ?1";
    let mut find = connection.prepare_cached(sql)?;
    // Columns of a damaged row are replaced by plausible values.
    let told = find.query_row([letter.message], |row| {
        let stored = Stored {
            topic: lossy(row.get_ref(0)?),
            key: Some(lossy(row.get_ref(1)?)).filter(|key| !key.is_empty()),
            hops: u32::try_from(whole(row.get_ref(2)?)).unwrap_or(0),
            published_at: Timestamp(u64::try_from(whole(row.get_ref(3)?)).unwrap_or(0)),
            attributes: serde_json::from_str(&lossy(row.get_ref(4)?)).unwrap_or_default(),
            ..letter.without_message()
        };
        Ok((stored, u64::try_from(whole(row.get_ref(5)?)).unwrap_or(0)))
    });
    let (stored, body_bytes) = told.optional()?.unwrap_or_else(|| (letter.without_message(), 0));
    Ok(Listed { letter: letter.with(stored), body_bytes })
}

impl Letter {
    /// Stands in for a message that is missing.
    fn without_message(&self) -> Stored {
        Stored {
            id: self.id.clone(),
            topic: String::new(),
            key: None,
            hops: 0,
            published_at: self.dead_at,
            attributes: Attributes::new(),
            body: Bytes::new(),
            intact: false,
            mark: 0,
        }
    }

    fn with(&self, stored: Stored) -> DeadLetter {
        let unreadable = |_| {
            let reason = self.reason.parse().unwrap_or(Reason::Failed);
            Evidence::by_host(reason, "evidence in the queue file was damaged")
        };
        let attempts: Vec<Attempt> = serde_json::from_str(&self.attempts).unwrap_or_default();
        DeadLetter {
            id: self.id.clone(),
            queue: self.queue.clone(),
            topic: stored.topic,
            attributes: stored.attributes,
            body: stored.body,
            key: stored.key,
            hops: stored.hops,
            deliveries: self.deliveries,
            published_at: stored.published_at,
            dead_at: self.dead_at,
            evidence: serde_json::from_str(&self.evidence).unwrap_or_else(unreadable),
            attempts,
        }
    }
}

/// Columns of a damaged row are replaced by plausible values, so that its neighbours and the message itself can be
/// read.
fn letter(row: &Row<'_>) -> rusqlite::Result<Letter> {
    Ok(Letter {
        number: row.get(0)?,
        queue: row.get(1)?,
        message: row.get(2)?,
        deliveries: u32::try_from(whole(row.get_ref(3)?)).unwrap_or(0),
        id: row.get(4)?,
        reason: lossy(row.get_ref(5)?),
        dead_at: Timestamp(u64::try_from(whole(row.get_ref(6)?)).unwrap_or(0)),
        evidence: lossy(row.get_ref(7)?),
        attempts: lossy(row.get_ref(8)?),
    })
}
