# ruff: noqa: E501, N999, RUF012, RUF100 (as Tortoise wrote it)
"""What robots are asked to do."""

from tortoise import fields, migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("store", "0005_totals")]

    initial = False

    operations = [
        ops.CreateModel(
            name="Command",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("command", fields.CharField(unique=True, max_length=64)),
                ("robot", fields.CharField(max_length=64)),
                ("name", fields.TextField(unique=False)),
                ("args", fields.TextField(unique=False)),
                ("created", fields.BigIntField()),
                ("expires", fields.BigIntField()),
                ("actor", fields.TextField(unique=False)),
                ("status", fields.CharField(max_length=16)),
                ("changed", fields.BigIntField()),
                ("reason", fields.TextField(null=True, unique=False)),
                ("progress", fields.FloatField(null=True)),
                ("sent", fields.BigIntField(null=True)),
                ("answered", fields.BigIntField(null=True)),
                ("late", fields.BooleanField(default=False)),
            ],
            options={
                "table": "command",
                "app": "store",
                "indexes": [
                    Index(fields=["robot", "id"], name="command_robot"),
                    Index(fields=["status"], name="command_status"),
                ],
                "pk_attr": "id",
                "table_description": "Something that a robot is to do, and how far that has come. `command` is its id, `args` are JSON.",
            },
            bases=["Model"],
        ),
    ]
