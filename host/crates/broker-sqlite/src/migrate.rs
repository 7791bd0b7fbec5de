//! The versions of the schema, and the steps from each to the newest.

use rusqlite::Connection;

use crate::store::hash_of;

/// The version of the schema that this program reads and writes.
pub(crate) const VERSION: usize = 2;
/// The schema of a new file.
const NEWEST: &str = concat!(include_str!("schema.sql"), include_str!("schema-ids.sql"));
/// The tables that are new in version 2, and the statements that fill them.
const SECOND: &str = concat!(include_str!("schema-ids.sql"), include_str!("schema-2.sql"));

/// Brings a file from a version, 0 for an empty one, to the newest, in one transaction: a crash leaves one or the
/// other.
pub(crate) fn migrate(connection: &Connection, from: usize) -> rusqlite::Result<()> {
    if from >= VERSION {
        return Ok(());
    }
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let step = if from == 0 { connection.execute_batch(NEWEST) } else { to_second(connection) };
    let migrated = step.and_then(|()| connection.execute_batch(&format!("PRAGMA user_version = {VERSION}; COMMIT")));
    if migrated.is_err() {
        // The first error is returned; changes that could not be rolled back are not committed either.
        drop(connection.execute_batch("ROLLBACK"));
    }
    migrated
}

fn to_second(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(SECOND)?;
    let mut find = connection.prepare("SELECT topic, id, expires_at FROM dedup")?;
    let mut known = find.query([])?;
    let mut remember = connection.prepare("INSERT OR IGNORE INTO ids (hash, expires_at) VALUES (?1, ?2)")?;
    while let Some(row) = known.next()? {
        let hash = hash_of(&row.get::<_, String>(0)?, &row.get::<_, String>(1)?);
        remember.execute((hash, row.get::<_, i64>(2)?))?;
    }
    drop(known);
    drop((find, remember));
    connection.execute_batch("DROP TABLE dedup")
}
