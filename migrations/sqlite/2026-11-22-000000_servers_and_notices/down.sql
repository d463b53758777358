DROP TABLE deliveries;
DROP TABLE servers;
DELETE FROM counters WHERE name = 'live';
DROP INDEX instances_by_retention;
DROP INDEX instances_by_warning;
DROP INDEX instances_by_host;
ALTER TABLE instances DROP COLUMN unreachable_since;
ALTER TABLE instances DROP COLUMN warn_at;
ALTER TABLE instances DROP COLUMN server;
