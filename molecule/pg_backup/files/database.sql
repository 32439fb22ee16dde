-- What an application's database holds, and what makes dumps hard: names that need quotes, rows in partitions, rows in a
-- parent and its child, a table without rows, text that is no ASCII, a view that holds rows.
SET SESSION AUTHORIZATION amy;
CREATE TABLE person (id serial PRIMARY KEY, name text NOT NULL, photo bytea);
INSERT INTO person (name, photo) SELECT 'Zoë ' || n, sha256(n::text::bytea) FROM generate_series(1, 5000) n;
CREATE TABLE "Weird ""name""" (id integer PRIMARY KEY, "select" text);
INSERT INTO "Weird ""name""" SELECT n, repeat('x', n) FROM generate_series(1, 17) n;
CREATE TABLE event (id integer, happened date NOT NULL) PARTITION BY RANGE (happened);
CREATE TABLE event_2025 PARTITION OF event FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE event_2026 PARTITION OF event FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO event SELECT n, date '2025-06-01' + n FROM generate_series(1, 300) n;
CREATE TABLE parent (id integer);
CREATE TABLE child () INHERITS (parent);
INSERT INTO parent SELECT generate_series(1, 3);
INSERT INTO child SELECT generate_series(1, 4);
CREATE TABLE nothing (id integer);
CREATE TABLE session (id integer, data text);
INSERT INTO session SELECT n, 'short-lived' FROM generate_series(1, 50) n;
CREATE SCHEMA reports;
CREATE MATERIALIZED VIEW reports.names AS SELECT name FROM public.person WHERE id < 10;
CREATE TABLE reports.month (id integer, person integer REFERENCES public.person);
INSERT INTO reports.month SELECT n, n FROM generate_series(1, 12) n;
COMMENT ON TABLE person IS 'Somebody; "quoted"';
