"""The wire contract between robots and hub, shared by both sides.

`topics` names the MQTT topics, `messages` holds the typed messages, `validation` the compiled JSON Schemas of the
folder `v1/`, and `codec` turns bytes into checked messages and back. `settings` reads YAML configuration, and `clock`
says what a clock is, since both sides get theirs passed in.
"""

from botyard_schemas._version import __version__
from botyard_schemas.codec import DEFAULT_LIMIT, Reason, WireError, decode, encode
from botyard_schemas.messages import (
    Ack,
    Body,
    Channel,
    Command,
    Envelope,
    Event,
    Geo,
    Group,
    Pose,
    Presence,
    Report,
    State,
    Telemetry,
    Time,
)

__all__ = [
    "DEFAULT_LIMIT",
    "Ack",
    "Body",
    "Channel",
    "Command",
    "Envelope",
    "Event",
    "Geo",
    "Group",
    "Pose",
    "Presence",
    "Reason",
    "Report",
    "State",
    "Telemetry",
    "Time",
    "WireError",
    "__version__",
    "decode",
    "encode",
]
