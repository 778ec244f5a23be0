"""What robots are calibrated by, and the versions of it. The hub knows what robots tell: the state says what is
applied, and events hold each version (`calibration.changed`, `.loaded`, `.versions`). Changes are commands."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from quart import Blueprint, Response
from quart_schema import document_response, tag

from botyard.store.base import StoredEvent
from botyard.web.context import the_hub
from botyard.web.models import CalibrationProfile, CalibrationView, Problem
from botyard.web.reply import reply
from botyard.web.robots import record_of
from botyard_schemas.calibration import Profile
from botyard_schemas.messages import ProfileState

blueprint = Blueprint("calibration", __name__, url_prefix="/api/v1/robots/<robot>/calibration")

# Events that are looked at, and versions of a profile of which it is said whether they are known.
PAGE, PAGES, LOOKED_FOR = 500, 8, 100


@blueprint.get("")
@tag(["Robots"])
@document_response(CalibrationView)
@document_response(Problem, 404)
async def get_calibration(robot: str) -> Response:
    """What the robot is calibrated by, with the versions that the hub knows, newest first. Changes are commands:
    `calibration.set`, `calibration.rollback`, `calibration.remove`; `calibration.history` lets the robot send all its
    versions again."""
    record = record_of(robot)
    known = _by_name(await _told(robot))
    state = record.state.calibration if record.state else None
    standing = state.profiles if state else {}
    names = sorted({*known, *standing})
    return reply(
        CalibrationView(
            robot=robot,
            hash=state.hash if state else None,
            ts=record.state_ts if state else None,
            profiles=[_profile(name, standing.get(name), known.get(name, {})) for name in names],
        )
    )


async def _told(robot: str) -> list[StoredEvent]:
    """The robot's events about its calibration, newest first."""
    events: list[StoredEvent] = []
    cursor: str | None = None
    for _ in range(PAGES):
        page = await the_hub().store.events(robot=robot, name="calibration", limit=PAGE, cursor=cursor)
        events += page.items
        cursor = page.next
        if cursor is None:
            break
    return events


def _by_name(events: Iterable[StoredEvent]) -> dict[str, dict[int, Profile]]:
    """The versions that the events hold, by name and number. What was told last counts: a robot whose history was lost
    begins again at 1."""
    found: dict[str, dict[int, Profile]] = {}
    for event in events:
        for profile in _profiles(event):
            found.setdefault(profile.name, {}).setdefault(profile.version, profile)
    return found


def _profiles(event: StoredEvent) -> Iterator[Profile]:
    """The versions in one event; what is none is passed over, since events may hold anything."""
    several: Any = event.data.get("profiles")
    for written in [event.data.get("profile"), *(several if isinstance(several, list) else ())]:
        if isinstance(written, dict):
            try:
                yield msgspec.convert(written, Profile)
            except msgspec.ValidationError:
                continue


def _profile(name: str, standing: ProfileState | None, versions: dict[int, Profile]) -> CalibrationProfile:
    current = standing.version if standing else max(versions)
    # A version above the current one is of a history that the robot has lost.
    kept = [versions[number] for number in sorted(versions, reverse=True) if number <= current]
    wanted = range(max(1, current - LOOKED_FOR + 1), current + 1)
    return CalibrationProfile(
        name=name,
        version=standing.version if standing else None,
        status=standing.status if standing else None,
        problem=standing.problem if standing else None,
        versions=kept,
        missing=[number for number in wanted if number not in versions],
    )
