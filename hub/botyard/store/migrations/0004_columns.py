# ruff: noqa: E501, N999, RUF012, RUF100 (as Tortoise wrote it)
"""Telemetry is kept in columns: blocks of messages as they came, chunks and rollups made of them (see `compaction`).

The table `sample` goes. No release had it; a database that has samples in it is refused before this runs. PostgreSQL
keeps chunks by week (see `postgres_partitions`), and keeps what is compressed already as it is.
"""

from tortoise import fields, migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops

from botyard.store.operations import OnPostgres


class Migration(migrations.Migration):
    dependencies = [("store", "0003_retired")]

    initial = False

    operations = [
        ops.CreateModel(
            name="Block",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("shard", fields.SmallIntField()),
                ("start", fields.BigIntField()),
                ("end", fields.BigIntField()),
                ("messages", fields.IntField()),
                ("data", fields.BinaryField()),
            ],
            options={
                "table": "block",
                "app": "store",
                "indexes": [Index(fields=["shard"], name="block_shard")],
                "pk_attr": "id",
                "table_description": "Telemetry as it came, of some robots, until it is compacted: a JSON array of messages (see `hot.py`).",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Chunk",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("robot", fields.CharField(max_length=64)),
                ("start", fields.BigIntField()),
                ("end", fields.BigIntField()),
                ("rows", fields.IntField()),
                ("samples", fields.IntField()),
                ("small", fields.BooleanField()),
                ("channels", fields.TextField(unique=False)),
                ("data", fields.BinaryField()),
            ],
            options={
                "table": "chunk",
                "app": "store",
                "indexes": [
                    Index(fields=["robot", "start", "end"], name="chunk_robot_start"),
                    Index(fields=["small", "robot"], name="chunk_small"),
                ],
                "pk_attr": "id",
                "table_description": "Samples of channels of a robot that have the same times, as compressed columns (see `chunks.py`).",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Progress",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("data", fields.TextField(unique=False)),
            ],
            options={
                "table": "progress",
                "app": "store",
                "pk_attr": "id",
                "table_description": "Positions of one commit (JSON), newer than those of the table `position`, until they are brought there.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Rollup",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("robot", fields.CharField(max_length=64)),
                ("width", fields.BigIntField()),
                ("start", fields.BigIntField()),
                ("buckets", fields.IntField()),
                ("part", fields.BooleanField()),
                ("data", fields.BinaryField()),
            ],
            options={
                "table": "rollup",
                "app": "store",
                "indexes": [
                    Index(fields=["robot", "width", "start"], name="rollup_robot_start"),
                    Index(fields=["part", "robot"], name="rollup_part"),
                ],
                "pk_attr": "id",
                "table_description": "Aggregates of a robot's numeric channels, in buckets of `width` (see `rollups.py`).",
            },
            bases=["Model"],
        ),
        ops.AlterModelOptions(
            name="Series",
            options={
                "table": "series",
                "app": "store",
                "unique_together": (("robot", "channel"),),
                "pk_attr": "id",
                "table_description": "A channel of a robot as far as it is compacted: the type and unit that were said last, the latest sample.",
            },
        ),
        ops.AddField(
            model_name="Series",
            name="last_ts",
            field=fields.BigIntField(default=0),
        ),
        ops.AddField(
            model_name="Series",
            name="last_value",
            field=fields.TextField(default="null", unique=False),
        ),
        ops.DeleteModel(name="Sample"),
        OnPostgres(
            'DROP TABLE "chunk"',
            'CREATE SEQUENCE "chunk_id_seq"',
            """CREATE TABLE "chunk" (
                "id" BIGINT NOT NULL DEFAULT nextval('chunk_id_seq'),
                "robot" VARCHAR(64) COLLATE "C" NOT NULL,
                "start" BIGINT NOT NULL,
                "end" BIGINT NOT NULL,
                "rows" INT NOT NULL,
                "samples" INT NOT NULL,
                "small" BOOL NOT NULL,
                "channels" TEXT COLLATE "C" NOT NULL,
                "data" BYTEA NOT NULL,
                PRIMARY KEY ("id", "start")
            ) PARTITION BY RANGE ("start")""",
            'ALTER SEQUENCE "chunk_id_seq" OWNED BY "chunk"."id"',
            'CREATE INDEX "chunk_robot_start" ON "chunk" ("robot", "start", "end")',
            'CREATE INDEX "chunk_small" ON "chunk" ("robot") WHERE "small"',
            *(
                f'ALTER TABLE "{table}" ALTER COLUMN "data" SET STORAGE EXTERNAL'
                for table in ("chunk", "block", "rollup")
            ),
            'CREATE TABLE "chunk_early" PARTITION OF "chunk" FOR VALUES FROM (MINVALUE) TO (0)',
            'CREATE TABLE "chunk_late" PARTITION OF "chunk" FOR VALUES FROM (0) TO (MAXVALUE)',
        ),
    ]
