# ruff: noqa: N999, RUF012, RUF100
"""When a robot was retired, in microseconds since 1970; NULL: it takes part."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("store", "0002_weekly_samples")]

    operations = [ops.AddField(model_name="Robot", name="retired", field=fields.BigIntField(null=True))]
