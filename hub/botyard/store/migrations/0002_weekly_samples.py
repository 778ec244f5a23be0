# ruff: noqa: N999, RUF012, RUF100
"""PostgreSQL keeps samples by week (see `postgres_partitions`), for which Tortoise has no words; SQLite is as it was.

The table that goes was made by the migration before and is empty: no version came between. Instead of `id` alone the
new one is found by series, time and id, the order in which everything asks for samples, so that it needs one index and
not two. Nothing checks `series_id` but the writer: a foreign key, checked row by row, more than halves the rate.
"""

from tortoise import migrations

from botyard.store.operations import OnPostgres


class Migration(migrations.Migration):
    dependencies = [("store", "0001_initial")]

    operations = [
        OnPostgres(
            """DO $$ BEGIN
                IF EXISTS (SELECT FROM "sample") THEN RAISE 'the table sample is not empty'; END IF;
            END $$""",
            'DROP TABLE "sample"',
            'CREATE SEQUENCE "sample_id_seq" CACHE 1000',
            """CREATE TABLE "sample" (
                "series_id" BIGINT NOT NULL,
                "ts" BIGINT NOT NULL,
                "id" BIGINT NOT NULL DEFAULT nextval('sample_id_seq'),
                "num" DOUBLE PRECISION,
                "kind" SMALLINT NOT NULL,
                "doc" TEXT COLLATE "C",
                PRIMARY KEY ("series_id", "ts", "id")
            ) PARTITION BY RANGE ("ts")""",
            'ALTER SEQUENCE "sample_id_seq" OWNED BY "sample"."id"',
            'CREATE TABLE "sample_early" PARTITION OF "sample" FOR VALUES FROM (MINVALUE) TO (0)',
            'CREATE TABLE "sample_late" PARTITION OF "sample" FOR VALUES FROM (0) TO (MAXVALUE)',
        ),
    ]
