# ruff: noqa: E501, N999, RUF012, RUF100 (as Tortoise wrote it)
from tortoise import fields, migrations
from tortoise.fields.base import OnDelete
from tortoise.indexes import Index
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    initial = True

    operations = [
        ops.CreateModel(
            name="Event",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("ts", fields.BigIntField()),
                ("robot", fields.CharField(null=True, max_length=64)),
                ("actor", fields.TextField(unique=False)),
                ("name", fields.TextField(unique=False)),
                ("severity", fields.CharField(max_length=16)),
                ("message", fields.TextField(null=True, unique=False)),
                ("data", fields.TextField(unique=False)),
                ("cause", fields.TextField(null=True, unique=False)),
                ("epoch", fields.CharField(null=True, max_length=64)),
                ("seq", fields.BigIntField(null=True)),
            ],
            options={
                "table": "event",
                "app": "store",
                "indexes": [
                    Index(fields=["ts"], name="event_ts"),
                    Index(fields=["robot", "ts"], name="event_robot_ts"),
                ],
                "pk_attr": "id",
                "table_description": "Something that happened. `epoch` and `seq` are set on what a robot sent.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Mark",
            fields=[
                ("id", fields.IntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("session", fields.CharField(max_length=32)),
                ("n", fields.BigIntField()),
                ("answer", fields.BinaryField()),
            ],
            options={
                "table": "mark",
                "app": "store",
                "pk_attr": "id",
                "table_description": "One row: the last thing that the writer committed and its answer, for a hub that lost its writer in between.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Position",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("robot", fields.CharField(max_length=64)),
                ("epoch", fields.CharField(max_length=64)),
                ("seq", fields.BigIntField()),
                ("beyond", fields.TextField(unique=False)),
            ],
            options={
                "table": "position",
                "app": "store",
                "unique_together": (("robot", "epoch"),),
                "pk_attr": "id",
                "table_description": "Which messages of an epoch are in this database: up to `seq`, and the closed ranges of `beyond` (JSON).",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Quarantine",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("received", fields.BigIntField()),
                ("robot", fields.TextField(null=True, unique=False)),
                ("topic", fields.TextField(null=True, unique=False)),
                ("reason", fields.CharField(max_length=64)),
                ("detail", fields.TextField(unique=False)),
                ("size", fields.BigIntField()),
                ("payload", fields.TextField(unique=False)),
            ],
            options={
                "table": "quarantine",
                "app": "store",
                "indexes": [Index(fields=["robot"], name="quarantine_robot")],
                "pk_attr": "id",
                "table_description": "A message that was refused.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Report",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("ts", fields.BigIntField()),
                ("robot", fields.CharField(max_length=64)),
                ("command", fields.TextField(unique=False)),
                ("status", fields.CharField(max_length=16)),
                ("body", fields.TextField(unique=False)),
                ("epoch", fields.CharField(max_length=64)),
                ("seq", fields.BigIntField()),
            ],
            options={
                "table": "report",
                "app": "store",
                "indexes": [
                    Index(fields=["robot", "ts"], name="report_robot_ts"),
                    Index(fields=["command"], name="report_command"),
                ],
                "pk_attr": "id",
                "table_description": "A report on a command or mission step, with the message's body as JSON.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Robot",
            fields=[
                ("id", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=64)),
                ("created", fields.BigIntField()),
                ("name", fields.TextField(unique=False)),
                ("type", fields.TextField(unique=False)),
                ("group", fields.TextField(null=True, unique=False)),
                ("tags", fields.TextField(unique=False)),
                ("notes", fields.TextField(unique=False)),
                ("accepted", fields.BooleanField()),
            ],
            options={
                "table": "robot",
                "app": "store",
                "pk_attr": "id",
                "table_description": "A robot as people describe it.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="RobotState",
            fields=[
                ("robot", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=64)),
                ("ts", fields.BigIntField()),
                ("body", fields.TextField(unique=False)),
            ],
            options={
                "table": "robot_state",
                "app": "store",
                "pk_attr": "robot",
                "table_description": "The latest state of a robot, with the message's body as JSON.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Series",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("robot", fields.CharField(max_length=64)),
                ("channel", fields.CharField(max_length=128)),
                ("type", fields.CharField(max_length=16)),
                ("unit", fields.TextField(null=True, unique=False)),
            ],
            options={
                "table": "series",
                "app": "store",
                "unique_together": (("robot", "channel"),),
                "pk_attr": "id",
                "table_description": "A channel of a robot, with the type and unit that the robot said last (older samples may be of another type).",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Sample",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                (
                    "series",
                    fields.ForeignKeyField(
                        "store.Series",
                        source_field="series_id",
                        db_constraint=True,
                        to_field="id",
                        related_name=False,
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("ts", fields.BigIntField()),
                ("kind", fields.SmallIntField()),
                ("num", fields.FloatField(null=True)),
                ("doc", fields.TextField(null=True, unique=False)),
            ],
            options={
                "table": "sample",
                "app": "store",
                "indexes": [Index(fields=["series_id", "ts"], name="sample_series_ts")],
                "pk_attr": "id",
                "table_description": "One sample: `kind` says how to read it (see `samples.py`), numbers are in `num` and all else is JSON in `doc`.",
            },
            bases=["Model"],
        ),
    ]
