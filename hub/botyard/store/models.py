"""The tables, as Tortoise ORM sees them; the migrations beside this module are made from these classes.

Times are microseconds since 1970 in hub time. Only the writer process writes (`sqlite_writer`), by SQL of its own that
names these columns, so a change here is a change there too. JSON is kept as text, since all that reads it decodes
into classes of its own. Tortoise copies the first line of each docstring into the table's comment and cuts scripts at
semicolons, so these lines have none.
"""

from tortoise import fields
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
    """A channel of a robot as far as it is compacted: the type and unit that were said last, the latest sample."""

    id = fields.BigIntField(primary_key=True)
    robot = fields.CharField(max_length=64)
    channel = fields.CharField(max_length=128)
    type = fields.CharField(max_length=16)
    unit = fields.TextField(null=True)
    last_ts = fields.BigIntField(default=0)
    last_value = fields.TextField(default="null")

    class Meta:
        table = "series"
        unique_together = (("robot", "channel"),)


class Block(Model):
    """Telemetry as it came, of some robots, until it is compacted: a JSON array of messages (see `hot.py`)."""

    id = fields.BigIntField(primary_key=True)
    shard = fields.SmallIntField()
    start = fields.BigIntField()
    end = fields.BigIntField()
    messages = fields.IntField()
    data = fields.BinaryField()

    class Meta:
        table = "block"
        indexes = (Index(fields=("shard",), name="block_shard"),)


class Chunk(Model):
    """Samples of channels of a robot that have the same times, as compressed columns (see `chunks.py`)."""

    id = fields.BigIntField(primary_key=True)
    robot = fields.CharField(max_length=64)
    start = fields.BigIntField()
    end = fields.BigIntField()
    rows = fields.IntField()
    samples = fields.IntField()
    small = fields.BooleanField()
    channels = fields.TextField()
    data = fields.BinaryField()

    class Meta:
        table = "chunk"
        indexes = (
            Index(fields=("robot", "start", "end"), name="chunk_robot_start"),
            Index(fields=("small", "robot"), name="chunk_small"),
            Index(fields=("end", "start"), name="chunk_end"),
        )


class Rollup(Model):
    """Aggregates of a robot's numeric channels, in buckets of `width` (see `rollups.py`)."""

    id = fields.BigIntField(primary_key=True)
    robot = fields.CharField(max_length=64)
    width = fields.BigIntField()
    start = fields.BigIntField()
    buckets = fields.IntField()
    part = fields.BooleanField()
    data = fields.BinaryField()

    class Meta:
        table = "rollup"
        indexes = (
            Index(fields=("robot", "width", "start"), name="rollup_robot_start"),
            Index(fields=("part", "robot"), name="rollup_part"),
            Index(fields=("width", "start"), name="rollup_width_start"),
        )


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
            Index(fields=("ts",), name="report_ts"),
        )


class Command(Model):
    """Something that a robot is to do, and how far that has come. `command` is its id, `args` are JSON."""

    id = fields.BigIntField(primary_key=True)
    command = fields.CharField(max_length=64, unique=True)
    robot = fields.CharField(max_length=64)
    name = fields.TextField()
    args = fields.TextField()
    created = fields.BigIntField()
    expires = fields.BigIntField()
    actor = fields.TextField()
    status = fields.CharField(max_length=16)
    changed = fields.BigIntField()
    reason = fields.TextField(null=True)
    progress = fields.FloatField(null=True)
    sent = fields.BigIntField(null=True)
    answered = fields.BigIntField(null=True)
    late = fields.BooleanField(default=False)

    class Meta:
        table = "command"
        indexes = (
            Index(fields=("robot", "id"), name="command_robot"),
            Index(fields=("status",), name="command_status"),
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
        indexes = (
            Index(fields=("robot",), name="quarantine_robot"),
            Index(fields=("received",), name="quarantine_received"),
        )


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


class Progress(Model):
    """Positions of one commit (JSON), newer than those of the table `position`, until they are brought there."""

    id = fields.BigIntField(primary_key=True)
    data = fields.TextField()

    class Meta:
        table = "progress"


class Mark(Model):
    """One row: the last thing that the writer committed and its answer, for a hub that lost its writer in between."""

    id = fields.IntField(primary_key=True)
    session = fields.CharField(max_length=32)
    n = fields.BigIntField()
    answer = fields.BinaryField()

    class Meta:
        table = "mark"


class Total(Model):
    """How much there is of a class of data (see `holdings.py`): samples, buckets or rows, and their bytes."""

    name = fields.CharField(max_length=32, primary_key=True)
    count = fields.BigIntField()
    bytes = fields.BigIntField()

    class Meta:
        table = "total"


class Size(Model):
    """The size of the whole database at a time, about once an hour."""

    ts = fields.BigIntField(primary_key=True)
    bytes = fields.BigIntField()

    class Meta:
        table = "size"
