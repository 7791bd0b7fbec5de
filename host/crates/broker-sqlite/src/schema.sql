-- The schema of a wasmpost queue file, version 2. Times are milliseconds since 1970-01-01 00:00 UTC.
-- PRAGMA application_id is 0x77706f73 ("wpos"), PRAGMA user_version the version of the schema.

-- Facts about the file: `epoch` counts how often it was opened, `time` is the last time known, `run` is the number of the
-- run that has it open, which its flight file has as well.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY NOT NULL,
    value INTEGER NOT NULL
) WITHOUT ROWID;

-- A queue that was not declared keeps the messages of a topic that no queue takes from.
CREATE TABLE queues (
    id       INTEGER PRIMARY KEY,
    name     TEXT NOT NULL UNIQUE,
    declared INTEGER NOT NULL,
    acked    INTEGER NOT NULL DEFAULT 0,
    expired  INTEGER NOT NULL DEFAULT 0
);

-- Which queues take from a topic.
CREATE TABLE bindings (
    topic TEXT NOT NULL,
    queue INTEGER NOT NULL,
    PRIMARY KEY (topic, queue)
) WITHOUT ROWID;

-- Each message once, whatever number of queues has it, in publish order. `checksum` covers all other columns.
CREATE TABLE messages (
    number       INTEGER PRIMARY KEY,
    id           TEXT NOT NULL,
    topic        TEXT NOT NULL,
    key          TEXT,
    hops         INTEGER NOT NULL,
    published_at INTEGER NOT NULL,
    checksum     BLOB NOT NULL,
    attributes   TEXT NOT NULL,
    body         BLOB NOT NULL
);

-- Where each message of each queue is.
-- status: 0 ready; 1 behind another message with its key; 2 leased, by a version before this one; 3 ready, to be leased alone
-- because a process ended while it had the message. Who has a message now is not in the file.
-- due: not to be delivered before.
-- deliveries: those whose outcome is stored.
-- shared: whether more than one queue got the message.
CREATE TABLE state (
    queue      INTEGER NOT NULL,
    message    INTEGER NOT NULL,
    status     INTEGER NOT NULL,
    due        INTEGER NOT NULL,
    expires_at INTEGER,
    deliveries INTEGER NOT NULL DEFAULT 0,
    failures   INTEGER NOT NULL DEFAULT 0,
    crashes    INTEGER NOT NULL DEFAULT 0,
    epoch      INTEGER NOT NULL DEFAULT 0,
    shared     INTEGER NOT NULL,
    key        TEXT,
    PRIMARY KEY (queue, message)
) WITHOUT ROWID;
CREATE INDEX state_ready   ON state (queue, due) WHERE status = 0;
CREATE INDEX state_behind  ON state (queue, due) WHERE status = 1;
CREATE INDEX state_leased  ON state (queue) WHERE status = 2;
CREATE INDEX state_alone   ON state (queue, due) WHERE status = 3;
CREATE INDEX state_key     ON state (queue, key) WHERE key IS NOT NULL;
CREATE INDEX state_expires ON state (expires_at) WHERE expires_at IS NOT NULL AND status <> 2;
CREATE INDEX state_shared  ON state (message) WHERE shared = 1;

-- What the last attempts at a message came to, as a JSON array.
CREATE TABLE history (
    queue    INTEGER NOT NULL,
    message  INTEGER NOT NULL,
    attempts TEXT NOT NULL,
    PRIMARY KEY (queue, message)
) WITHOUT ROWID;

-- Dead letters. The message itself stays in `messages`; the view `dead_letters` joins both.
CREATE TABLE dead (
    number     INTEGER PRIMARY KEY,
    queue      TEXT NOT NULL,
    message    INTEGER NOT NULL,
    id         TEXT NOT NULL,
    reason     TEXT NOT NULL,
    dead_at    INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    shared     INTEGER NOT NULL,
    evidence   TEXT NOT NULL,
    attempts   TEXT NOT NULL
);
CREATE INDEX dead_queue  ON dead (queue);
CREATE INDEX dead_id     ON dead (id);
CREATE INDEX dead_shared ON dead (message) WHERE shared = 1;

CREATE VIEW dead_letters AS
    SELECT dead.number, dead.id, dead.queue, topic, reason, datetime(dead_at / 1000, 'unixepoch') AS died, deliveries,
           evidence ->> 'error' AS error, attributes, body
    FROM dead LEFT JOIN messages ON messages.number = dead.message;
