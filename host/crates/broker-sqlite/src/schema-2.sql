-- From version 1 of the schema to version 2, once the tables that are new are there. The ids are taken over from `dedup`,
-- which is dropped then.

INSERT INTO tenants (name, messages)
    SELECT substr(topic, 2, instr(topic, '/') - 2), count(*) FROM messages WHERE topic GLOB '@*/*' GROUP BY 1;
