-- What version 2 of the schema has beyond version 1.

-- Ids that publishers gave, to recognise a second publication until a time. Each is the first 16 bytes of BLAKE3 over the
-- topic, a line feed, and the id.
CREATE TABLE ids (
    hash       BLOB PRIMARY KEY NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX ids_expires ON ids (expires_at);

-- How many messages tenants have, dead letters included, and how many they may have; NULL where nothing is said. topics_max
-- is of topics that no queue takes from.
CREATE TABLE tenants (
    name         TEXT PRIMARY KEY NOT NULL,
    messages     INTEGER NOT NULL DEFAULT 0,
    messages_max INTEGER,
    topics_max   INTEGER
) WITHOUT ROWID;
