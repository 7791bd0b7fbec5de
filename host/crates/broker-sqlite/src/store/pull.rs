//! Leases messages that are due. Nothing is written for it: it runs between two groups.

use std::time::Duration;

use wasmpost_delivery::{Delivery, Evidence, Timestamp};
use wasmpost_msg::{Reason, tenant_of};

use super::dead::whole;
use super::read::stored_at;
use super::{ALONE, READY, Store};
use crate::ahead::{MESSAGE_BYTES, Message, Wish};
use crate::error::Outcome;

/// Messages whose numbers are no further apart than this are read by one statement.
const GAP_MAX: i64 = 4;
/// The most bytes of messages that are read when one with the same key before them has ended.
const UNBLOCKED_BYTES_MAX: usize = 1 << 20;
/// The most undeliverable messages that are ended in one group.
const OVER_MAX: usize = 512;
/// The columns of a message that is read ahead: those of its state, and those of the message itself.
const COLUMNS: &str = "s.message, s.deliveries, s.failures, s.expires_at, s.due, s.shared, \
                       m.id, m.topic, m.key, m.hops, m.published_at, m.checksum, m.attributes, m.body";

/// A message that is due but cannot be delivered.
#[derive(Debug, Clone, Copy)]
pub(super) enum Over {
    Expired,
    Damaged,
}

/// The messages of a queue that may be leased.
enum Turn {
    /// None: one is leased alone, or is about to be.
    Nobody,
    /// One message that was in flight when a process ended, alone.
    Suspect(i64),
    /// All others.
    All,
}

/// Messages that were read, and those of them that cannot be delivered.
#[derive(Default)]
struct Read {
    messages: Vec<Message>,
    over: Vec<(i64, Over)>,
    bytes: usize,
}

impl Store {
    /// Leases at most `max` messages that are due. A message that was in flight when a process ended is leased alone,
    /// so that no other is affected if it ends the process again.
    pub(crate) fn lease(&mut self, queue: i64, max: usize, lasts: Duration) -> rusqlite::Result<Vec<Delivery>> {
        let Some(channel) = self.channel.upgrade() else { return Ok(Vec::new()) };
        let wish = Wish { queue, max, lasts, now: self.now };
        match self.turn(queue)? {
            Turn::Nobody => Ok(Vec::new()),
            Turn::Suspect(message) => {
                let Read { messages, over, .. } = self.read(queue, &[message], usize::MAX)?;
                self.note_over(queue, over);
                let Some(message) = messages.into_iter().next() else { return Ok(Vec::new()) };
                self.taken.entry(queue).or_default().insert(message.number);
                Ok(channel.taken(channel.ahead().take_alone(message, wish)))
            }
            Turn::All => {
                if channel.ahead().room(queue).0 < max {
                    self.read_ahead(queue, max)?;
                }
                Ok(channel.take(wish))
            }
        }
    }

    /// Reads ahead for pulls that do not wait for the writer, and holds messages back while one is to be leased alone.
    pub(crate) fn look_ahead(&mut self) -> rusqlite::Result<()> {
        for queue in self.suspected.clone() {
            self.turn(queue)?;
        }
        let Some(channel) = self.channel.upgrade() else { return Ok(()) };
        for (queue, count) in std::mem::take(&mut self.unblocked) {
            match channel.ahead().room(queue) {
                // If nothing was read, the next pull gets them in their order.
                (0, ..) => {}
                (_, 0, _) | (_, _, 0) => channel.ahead().has_more(queue),
                (_, places, bytes) => {
                    self.read_some(queue, count.min(places), bytes.min(UNBLOCKED_BYTES_MAX), false)?;
                }
            }
        }
        channel.ahead().asked().into_iter().try_for_each(|queue| self.read_ahead(queue, 1))
    }

    /// The messages whose turn it is in a queue. Of the messages that were in flight when a process ended, one at a
    /// time is in flight in the whole file: two would share the blame for the next end of the process.
    fn turn(&mut self, queue: i64) -> rusqlite::Result<Turn> {
        if !self.suspected.contains(&queue) {
            return Ok(Turn::All);
        }
        let Some(channel) = self.channel.upgrade() else { return Ok(Turn::Nobody) };
        let ahead = channel.ahead();
        let alone = ahead.alone();
        if alone == Some(queue) {
            ahead.hold(queue);
            return Ok(Turn::Nobody);
        }
        let suspect = if alone.is_none() { self.due(queue, ALONE, 1)?.pop() } else { None };
        let Some(suspect) = suspect else {
            ahead.release(queue);
            if alone.is_none() && !self.has_status(queue, ALONE)? {
                self.suspected.remove(&queue);
            }
            return Ok(Turn::All);
        };
        // Deliveries in flight end first. Until then none begins, or the turn would never come.
        Ok(if ahead.hold(queue) > 0 { Turn::Nobody } else { Turn::Suspect(suspect) })
    }

    fn has_status(&self, queue: i64, status: i64) -> rusqlite::Result<bool> {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM state WHERE queue = ?1 AND status = {status})");
        self.connection.prepare_cached(&sql)?.query_row([queue], |row| row.get(0))
    }

    /// Reads messages that are due: at least `least` of them if there are so many, and more if there is room.
    fn read_ahead(&mut self, queue: i64, least: usize) -> rusqlite::Result<()> {
        let Some(channel) = self.channel.upgrade() else { return Ok(()) };
        if self.over.len() >= OVER_MAX {
            // They are ended first, because there may be any number of them.
            return Ok(());
        }
        let (_, messages, bytes) = channel.ahead().room(queue);
        let max = if bytes == 0 { least } else { messages.max(least) };
        self.read_some(queue, max, bytes, true)
    }

    /// Reads messages that are due, within both limits. With `is_all`, fewer than `max` means that there are no more.
    fn read_some(&mut self, queue: i64, max: usize, bytes: usize, is_all: bool) -> rusqlite::Result<()> {
        let Some(channel) = self.channel.upgrade() else { return Ok(()) };
        let numbers = self.due(queue, READY, max)?;
        let read = self.read(queue, &numbers, bytes)?;
        let has_more = numbers.len() == max || read.messages.len() + read.over.len() < numbers.len();
        let taken = self.taken.entry(queue).or_default();
        taken.extend(read.messages.iter().map(|message| message.number));
        self.note_over(queue, read.over);
        channel.ahead().add(queue, read.messages, (is_all || has_more).then_some(has_more));
        Ok(())
    }

    /// The numbers of messages that are due and not read yet, in order.
    fn due(&self, queue: i64, status: i64, max: usize) -> rusqlite::Result<Vec<i64>> {
        // The status is a literal, so that its partial index is used.
        let sql = format!(
            "SELECT message FROM state WHERE queue = ?1 AND status = {status} AND due <= ?2 ORDER BY due, message"
        );
        let taken = self.taken.get(&queue);
        let mut find = self.connection.prepare_cached(&sql)?;
        let mut rows = find.query((queue, self.now.0 as i64))?;
        let mut numbers = Vec::new();
        while numbers.len() < max
            && let Some(row) = rows.next()?
        {
            let number = row.get(0)?;
            if taken.is_none_or(|taken| !taken.contains(&number)) {
                numbers.push(number);
            }
        }
        Ok(numbers)
    }

    /// Reads messages by their numbers: at least one, and then up to `bytes` bytes.
    fn read(&self, queue: i64, numbers: &[i64], bytes_max: usize) -> rusqlite::Result<Read> {
        let mut read = Read::default();
        for run in numbers.chunk_by(|one, next| one < next && next - one <= GAP_MAX) {
            if !self.read_run(queue, run, bytes_max, &mut read)? {
                break;
            }
        }
        Ok(read)
    }

    /// Reads messages with ascending numbers. Returns whether there is room for more.
    fn read_run(&self, queue: i64, run: &[i64], bytes_max: usize, read: &mut Read) -> rusqlite::Result<bool> {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(true) };
        let sql = format!(
            "SELECT {COLUMNS} FROM state AS s CROSS JOIN messages AS m ON m.number = s.message \
             WHERE s.queue = ?1 AND s.message BETWEEN ?2 AND ?3 ORDER BY s.message"
        );
        let mut find = self.connection.prepare_cached(&sql)?;
        let mut rows = find.query((queue, first, last))?;
        let mut wanted = run.iter().copied().peekable();
        while let Some(row) = rows.next()? {
            let number: i64 = row.get(0)?;
            // A missing message is damage as well.
            while let Some(gone) = wanted.next_if(|wanted| *wanted < number) {
                read.over.push((gone, Over::Damaged));
            }
            if wanted.next_if_eq(&number).is_none() {
                continue;
            }
            match self.message(row, number)? {
                Ok(message) if read.bytes + message.bytes > bytes_max && !read.messages.is_empty() => return Ok(false),
                Ok(message) => {
                    read.bytes += message.bytes;
                    read.messages.push(message);
                }
                Err(over) => read.over.push((number, over)),
            }
        }
        read.over.extend(wanted.map(|gone| (gone, Over::Damaged)));
        Ok(true)
    }

    fn message(&self, row: &rusqlite::Row<'_>, number: i64) -> rusqlite::Result<Result<Message, Over>> {
        let expires_at = row.get_ref(3)?.as_i64_or_null().unwrap_or(None).map(|time| Timestamp(time as u64));
        if expires_at.is_some_and(|expires_at| expires_at <= self.now) {
            return Ok(Err(Over::Expired));
        }
        let Some(stored) = stored_at(row, 6)?.filter(|stored| stored.intact) else { return Ok(Err(Over::Damaged)) };
        let attributes: usize = stored.attributes.iter().map(|(name, values)| name.len() + 32 * values.len()).sum();
        // A damaged column is replaced by a plausible value.
        let [deliveries, failures] = [whole(row.get_ref(1)?), whole(row.get_ref(2)?)];
        let is_shared = whole(row.get_ref(5)?) != 0;
        let is_counted = tenant_of(&stored.topic).is_some();
        Ok(Ok(Message {
            number,
            is_plain: deliveries == 0 && !is_shared && !is_counted && stored.key.is_none(),
            bytes: MESSAGE_BYTES + attributes + stored.body.len(),
            id: stored.id,
            topic: stored.topic,
            attributes: stored.attributes,
            body: stored.body,
            key: stored.key,
            hops: stored.hops,
            published_at: stored.published_at,
            deliveries: u32::try_from(deliveries).unwrap_or(0),
            failures: u32::try_from(failures).unwrap_or(0),
            expires_at,
            due: Timestamp(u64::try_from(whole(row.get_ref(4)?)).unwrap_or(0)),
            mark: stored.mark,
        }))
    }

    /// Notes messages that the next group ends. Until then they are not read again.
    fn note_over(&mut self, queue: i64, over: Vec<(i64, Over)>) {
        self.taken.entry(queue).or_default().extend(over.iter().map(|(message, _)| *message));
        self.over.extend(over.into_iter().map(|(message, over)| (queue, message, over)));
    }

    /// Ends messages that cannot be delivered. If there are many, the next group goes on.
    pub(crate) fn end_over(&mut self) -> Outcome<()> {
        if let Some(channel) = self.channel.upgrade() {
            let expired = channel.ahead().expired().into_iter();
            self.over.extend(expired.map(|(queue, message)| (queue, message, Over::Expired)));
        }
        for (queue, message, over) in self.over.split_off(self.over.len().saturating_sub(OVER_MAX)) {
            // They can be read again, whether or not the group is committed.
            self.changes.over.push((queue, message));
            match over {
                Over::Expired => self.expire(queue, message)?,
                Over::Damaged => self.bury_damaged(queue, message)?,
            }
        }
        Ok(())
    }

    fn bury_damaged(&mut self, queue: i64, message: i64) -> Outcome<()> {
        let error = format!("message number {message} of the queue file was damaged");
        tracing::error!(
            path = %self.path().display(), queue = %self.queue_name(queue)?, id = self.message_id(message), number = message,
            "stored message is damaged; moving it to the dead letters"
        );
        self.bury((queue, message, 0), &Evidence::by_host(Reason::HostFault, error))
    }
}
