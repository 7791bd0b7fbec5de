//! The content of a queue file while no host has it.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Row};
use serde_json::Value;
use wasmpost_tests::prove::letter::digest;
use wasmpost_tests::prove::seen::{Copy, Dead, Snapshot, Waiting};

/// The status of a leased message.
const LEASED: i64 = 2;

/// The content of the file, which is not changed.
pub fn snapshot(path: &Path) -> Snapshot {
    let connection = Connection::open(path).unwrap();
    // The log stays uncopied, as the host left it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    let damage = "SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok' UNION ALL \
                  SELECT 'message ' || id || ' of no queue' FROM messages WHERE number NOT IN (SELECT message FROM state) \
                  AND number NOT IN (SELECT message FROM dead)";
    let acked = "SELECT coalesce(sum(acked), 0) FROM queues WHERE name = 'work'";
    Snapshot {
        waiting: rows(
            &connection,
            "SELECT attributes, body, messages.id, deliveries, crashes, status FROM state JOIN queues ON queues.id = queue \
             JOIN messages ON number = message WHERE name = 'work'",
            waiting,
        ),
        dead: rows(
            &connection,
            "SELECT attributes, body, dead.id, reason, deliveries, attempts FROM dead \
             JOIN messages ON messages.number = message WHERE queue = 'work'",
            dead,
        ),
        copies: rows(
            &connection,
            "SELECT attributes, body FROM state JOIN queues ON queues.id = queue JOIN messages ON number = message \
             WHERE name = 'out'",
            copy,
        ),
        acked: connection.query_row(acked, [], |row| row.get::<_, i64>(0)).unwrap() as usize,
        damage: rows(&connection, damage, |row| row.get(0).unwrap()),
    }
}

fn rows<T>(connection: &Connection, sql: &str, read: impl Fn(&Row<'_>) -> T) -> Vec<T> {
    let mut find = connection.prepare(sql).unwrap();
    find.query_map([], |row| Ok(read(row))).unwrap().map(Result::unwrap).collect()
}

type Attributes = BTreeMap<String, Vec<String>>;

fn content(row: &Row<'_>) -> (Attributes, Vec<u8>) {
    let text: String = row.get(0).unwrap();
    (serde_json::from_str(&text).unwrap_or_default(), row.get(1).unwrap())
}

fn waiting(row: &Row<'_>) -> Waiting {
    let (attributes, body) = content(row);
    Waiting {
        id: row.get(2).unwrap(),
        deliveries: row.get(3).unwrap(),
        crashes: row.get(4).unwrap(),
        is_leased: row.get::<_, i64>(5).unwrap() == LEASED,
        digest: digest(&attributes, &body),
    }
}

fn dead(row: &Row<'_>) -> Dead {
    let (attributes, body) = content(row);
    let attempts: String = row.get(5).unwrap();
    let attempts: Vec<Value> = serde_json::from_str(&attempts).unwrap_or_default();
    Dead {
        id: row.get(2).unwrap(),
        reason: row.get(3).unwrap(),
        deliveries: row.get(4).unwrap(),
        crashes: attempts.iter().filter(|attempt| attempt["reason"] == "crash").count() as u32,
        digest: digest(&attributes, &body),
    }
}

fn copy(row: &Row<'_>) -> Copy {
    let (mut attributes, body) = content(row);
    let mut take = |name: &str| attributes.remove(name).unwrap_or_default().concat();
    let source = take("Source");
    let number = take("Number");
    let attempt = take("Attempt");
    Copy { source, number, attempt: attempt.parse().unwrap_or(0), digest: digest(&attributes, &body) }
}
