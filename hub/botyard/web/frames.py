"""What is said over the WebSocket `/api/v1/ws`, in both directions; see `models` for what the frames are made of."""

from typing import Any

import msgspec

from botyard.web.models import EventView, HubView, Robot
from botyard_schemas.messages import ValueType

# --- from the server -------------------------------------------------------------------------------------------------


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="snapshot"):
    """The whole fleet. Sent first, and again when the server cannot tell what a client missed."""

    id: str
    hub: HubView
    robots: list[Robot]
    events: list[EventView]


class Changes(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="changes"):
    """What changed since the last frame. `id` is what a client says in `since` after a drop. Robots are whole and
    replace what was known; several changes of one robot in between are one. `skipped` counts events that were left out
    because the client was too slow."""

    id: str
    robots: list[Robot] = []
    removed: list[str] = []
    events: list[EventView] = []
    hub: HubView | None = None
    skipped: int = 0


class Samples(msgspec.Struct, frozen=True, kw_only=True):
    """New samples of one channel, in the order of arrival."""

    channel: str
    type: ValueType
    unit: str | None
    ts: list[int]
    values: list[Any]


class Readings(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="readings"):
    """New samples of a robot that the client watches. `skipped` counts samples left out because the client was slow."""

    robot: str
    channels: list[Samples]
    skipped: int = 0


class Fault(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="error"):
    """Something that the client sent was not understood."""

    detail: str


ServerFrame = Snapshot | Changes | Readings | Fault

# --- from the client -------------------------------------------------------------------------------------------------


class Watch(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="watch", forbid_unknown_fields=True):
    """From now on send `readings` of these robots, and of no others. At most 16."""

    robots: list[str]


class Ping(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="ping", forbid_unknown_fields=True):
    """Is the server there? It answers with an empty `changes` frame."""


ClientFrame = Watch | Ping
