"""The tables, as Tortoise ORM sees them; the migrations beside this module are made from these classes.

Times are microseconds since 1970 in hub time. Only the writer process writes (`sqlite_writer`), by SQL of its own that
names these columns, so a change here is a change there too. JSON is kept as text, since all that reads it decodes
into classes of its own. Tortoise copies the first line of each docstring into the table's comment and cuts scripts at
semicolons, so these lines have none.
"""

from tortoise import fields
from tortoise.fields import OnDelete
from tortoise.indexes import Index
from tortoise.models import Model


class Robot(Model):
    """A robot as people describe it."""

    id = fields.CharField(max_length=64, primary_key=True)
    created = fields.BigIntField()
    name = fields.TextField()
    type = fields.TextField()
    group = fields.TextField(null=True)
    tags = fields.TextField()
    notes = fields.TextField()
    accepted = fields.BooleanField()
    retired = fields.BigIntField(null=True)

    class Meta:
        table = "robot"


class Series(Model):
    """A channel of a robot, with the type and unit that the robot said last (older samples may be of another type)."""

    id = fields.BigIntField(primary_key=True)
    robot = fields.CharField(max_length=64)
    channel = fields.CharField(max_length=128)
    type = fields.CharField(max_length=16)
    unit = fields.TextField(null=True)

    class Meta:
        table = "series"
        unique_together = (("robot", "channel"),)


class Sample(Model):
    """One sample: `kind` says how to read it (see `samples.py`), numbers are in `num` and all else is JSON in `doc`."""

    id = fields.BigIntField(primary_key=True)
    series: fields.ForeignKeyRelation[Series] = fields.ForeignKeyField(
        "store.Series", related_name=False, on_delete=OnDelete.RESTRICT
    )
    ts = fields.BigIntField()
    kind = fields.SmallIntField()
    num = fields.FloatField(null=True)
    doc = fields.TextField(null=True)

    class Meta:
        table = "sample"
        indexes = (Index(fields=("series_id", "ts"), name="sample_series_ts"),)


class Event(Model):
    """Something that happened. `epoch` and `seq` are set on what a robot sent."""

    id = fields.BigIntField(primary_key=True)
    ts = fields.BigIntField()
    robot = fields.CharField(max_length=64, null=True)
    actor = fields.TextField()
    name = fields.TextField()
    severity = fields.CharField(max_length=16)
    message = fields.TextField(null=True)
    data = fields.TextField()
    cause = fields.TextField(null=True)
    epoch = fields.CharField(max_length=64, null=True)
    seq = fields.BigIntField(null=True)

    class Meta:
        table = "event"
        indexes = (Index(fields=("ts",), name="event_ts"), Index(fields=("robot", "ts"), name="event_robot_ts"))


class Report(Model):
    """A report on a command or mission step, with the message's body as JSON."""

    id = fields.BigIntField(primary_key=True)
    ts = fields.BigIntField()
    robot = fields.CharField(max_length=64)
    command = fields.TextField()
    status = fields.CharField(max_length=16)
    body = fields.TextField()
    epoch = fields.CharField(max_length=64)
    seq = fields.BigIntField()

    class Meta:
        table = "report"
        indexes = (
            Index(fields=("robot", "ts"), name="report_robot_ts"),
            Index(fields=("command",), name="report_command"),
        )


class RobotState(Model):
    """The latest state of a robot, with the message's body as JSON."""

    robot = fields.CharField(max_length=64, primary_key=True)
    ts = fields.BigIntField()
    body = fields.TextField()

    class Meta:
        table = "robot_state"


class Quarantine(Model):
    """A message that was refused."""

    id = fields.BigIntField(primary_key=True)
    received = fields.BigIntField()
    robot = fields.TextField(null=True)
    topic = fields.TextField(null=True)
    reason = fields.CharField(max_length=64)
    detail = fields.TextField()
    size = fields.BigIntField()
    payload = fields.TextField()

    class Meta:
        table = "quarantine"
        indexes = (Index(fields=("robot",), name="quarantine_robot"),)


class Position(Model):
    """Which messages of an epoch are in this database: up to `seq`, and the closed ranges of `beyond` (JSON)."""

    id = fields.BigIntField(primary_key=True)
    robot = fields.CharField(max_length=64)
    epoch = fields.CharField(max_length=64)
    seq = fields.BigIntField()
    beyond = fields.TextField()

    class Meta:
        table = "position"
        unique_together = (("robot", "epoch"),)


class Mark(Model):
    """One row: the last thing that the writer committed and its answer, for a hub that lost its writer in between."""

    id = fields.IntField(primary_key=True)
    session = fields.CharField(max_length=32)
    n = fields.BigIntField()
    answer = fields.BinaryField()

    class Meta:
        table = "mark"
