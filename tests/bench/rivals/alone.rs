//! SQLite alone: the same rows inserted and deleted in groups of 256, each committed to the disk.

use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;

use super::Rival;
use crate::BODY_BYTES;
use crate::measure::{Sample, timed};

const GROUP: usize = 256;

pub(super) struct Alone {
    connection: Connection,
    _directory: TempDir,
}

impl Alone {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let connection = Connection::open(directory.path().join("alone.db")).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.pragma_update(None, "synchronous", "FULL").unwrap();
        connection
            .execute_batch(
                "CREATE TABLE messages (number INTEGER PRIMARY KEY, id TEXT, topic TEXT, body BLOB);
                 CREATE TABLE state (queue INTEGER, message INTEGER, due INTEGER, attempts INTEGER,
                                     PRIMARY KEY (queue, message)) WITHOUT ROWID;
                 CREATE INDEX ready ON state (queue, due);",
            )
            .unwrap();
        Self { connection, _directory: directory }
    }

    fn insert(&self, body: &[u8]) {
        let sql = "INSERT INTO messages (id, topic, body) VALUES (?1, ?2, ?3)";
        let id = "0198f2c4-5b1e-7c3a-9d9f-0c6f1a2b3c4d";
        self.connection.prepare_cached(sql).unwrap().execute((id, "bench", body)).unwrap();
        let sql = "INSERT INTO state VALUES (1, ?1, 1, 0)";
        self.connection.prepare_cached(sql).unwrap().execute([self.connection.last_insert_rowid()]).unwrap();
    }

    /// Reads the next with their bodies, and deletes them.
    fn take(&self) {
        let sql =
            "SELECT message, body FROM state JOIN messages ON number = message WHERE queue = 1 ORDER BY due LIMIT ?1";
        let mut next = self.connection.prepare_cached(sql).unwrap();
        let rows =
            next.query_map([GROUP as i64], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))).unwrap();
        let rows: Vec<_> = rows.map(Result::unwrap).collect();
        for (number, _) in rows {
            let sql = "DELETE FROM state WHERE queue = 1 AND message = ?1";
            self.connection.prepare_cached(sql).unwrap().execute([number]).unwrap();
            let sql = "DELETE FROM messages WHERE number = ?1";
            self.connection.prepare_cached(sql).unwrap().execute([number]).unwrap();
        }
    }

    fn in_groups(&self, messages: usize, mut each: impl FnMut(&Self, usize)) -> Sample {
        timed(|| {
            let mut left = messages;
            while left > 0 {
                let some = left.min(GROUP);
                self.connection.execute_batch("BEGIN").unwrap();
                each(self, some);
                self.connection.execute_batch("COMMIT").unwrap();
                left -= some;
            }
        })
    }
}

impl Rival for Alone {
    fn name(&self) -> (&'static str, String) {
        ("alone", "SQLite alone, in groups of 256".to_owned())
    }

    fn publish(&mut self, messages: usize) -> Sample {
        let body = vec![b'x'; BODY_BYTES];
        self.in_groups(messages, |own, some| (0..some).for_each(|_| own.insert(&body)))
    }

    fn serve(&mut self, messages: usize) -> Sample {
        self.in_groups(messages, |own, _| own.take())
    }

    fn latency(&mut self, _rate: usize, _duration: Duration) -> Option<[f64; 3]> {
        None
    }
}
