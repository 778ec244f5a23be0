"""From what the hub knows to what the API says."""

from typing import TYPE_CHECKING

import msgspec

from botyard.fleet.record import RobotRecord
from botyard.store.base import StoredEvent, StoredQuarantine
from botyard.web.models import (
    BrokerView,
    ClockView,
    EventView,
    HubView,
    PresenceView,
    QuarantinedView,
    Robot,
    RobotSpec,
    RobotStatus,
    SyncView,
    TransportView,
)
from botyard_schemas import __version__

if TYPE_CHECKING:
    from botyard.core.hub import Hub


def robot_view(record: RobotRecord) -> Robot:
    """One robot."""
    row, presence, flapping = record.row, record.presence, record.flapping
    return Robot(
        id=row.id,
        created=row.created,
        spec=RobotSpec(name=row.name, type=row.type, group=row.group, tags=list(row.tags), notes=row.notes),
        status=RobotStatus(
            registration="retired" if record.retired else "accepted" if row.accepted else "pending",
            logical=record.logical,
            presence=PresenceView(
                status=presence.status,
                since=presence.since,
                reason=presence.reason,
                flapping=flapping.active,
                changes=flapping.changes,
            ),
            retired=row.retired,
            last_seen=record.last_seen,
            clock=_clock_view(record),
            sync=_sync_view(record),
            state=record.state,
            state_ts=record.state_ts,
        ),
    )


def _clock_view(record: RobotRecord) -> ClockView | None:
    link = record.state.link if record.state else None
    if link is None or record.state_ts is None or isinstance(link.clock_offset, msgspec.UnsetType):
        return None
    round_trip = None if isinstance(link.round_trip, msgspec.UnsetType) else link.round_trip
    return ClockView(offset=link.clock_offset, round_trip=round_trip, at=record.state_ts)


def _sync_view(record: RobotRecord) -> SyncView | None:
    link = record.state.link if record.state else None
    if link is None or record.state_ts is None:
        return None
    return SyncView(behind=link.backlog, dropped=link.dropped, at=record.state_ts)


def event_view(event: StoredEvent) -> EventView:
    """One event."""
    return msgspec.convert(event, EventView, from_attributes=True)


def quarantined_view(message: StoredQuarantine) -> QuarantinedView:
    """One refused message."""
    return msgspec.convert(message, QuarantinedView, from_attributes=True)


def hub_view(hub: "Hub") -> HubView:
    """The hub itself."""
    transport = hub.transports[0] if hub.transports else None
    return HubView(
        version=__version__,
        started=hub.started,
        now=hub.clock.now(),
        roles=list(hub.config.roles),
        auto_accept=hub.config.fleet.auto_accept,
        broker=BrokerView(
            connected=bool(transport and transport.connected),
            address=transport.address if transport else "",
            embedded=hub.config.broker.url is None,
            error=transport.error if transport else "this process does not take messages in",
        ),
        transports=[
            TransportView(
                name=one.name,
                address=one.address,
                connected=one.connected,
                connections=one.connections,
                error=one.error,
            )
            for one in hub.transports
        ],
        robots=len(hub.fleet),
        counters=dict(hub.ingest.counters) if hub.ingest else {},
    )
