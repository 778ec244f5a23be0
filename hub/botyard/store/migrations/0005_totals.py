# ruff: noqa: E501, N999, RUF012, RUF100 (as Tortoise wrote it)
"""How much there is of each class of data, how large the database was hour by hour, and what finds the oldest data.

The totals of a database that has data already are counted when the store is opened (see `holdings`).
"""

from tortoise import fields, migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("store", "0004_columns")]

    initial = False

    operations = [
        ops.CreateModel(
            name="Size",
            fields=[
                ("ts", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("bytes", fields.BigIntField()),
            ],
            options={
                "table": "size",
                "app": "store",
                "pk_attr": "ts",
                "table_description": "The size of the whole database at a time, about once an hour.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Total",
            fields=[
                ("name", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=32)),
                ("count", fields.BigIntField()),
                ("bytes", fields.BigIntField()),
            ],
            options={
                "table": "total",
                "app": "store",
                "pk_attr": "name",
                "table_description": "How much there is of a class of data (see `holdings.py`): samples, buckets or rows, and their bytes.",
            },
            bases=["Model"],
        ),
        ops.AddIndex(model_name="Chunk", index=Index(fields=["end", "start"], name="chunk_end")),
        ops.AddIndex(model_name="Quarantine", index=Index(fields=["received"], name="quarantine_received")),
        ops.AddIndex(model_name="Report", index=Index(fields=["ts"], name="report_ts")),
        ops.AddIndex(model_name="Rollup", index=Index(fields=["width", "start"], name="rollup_width_start")),
    ]
