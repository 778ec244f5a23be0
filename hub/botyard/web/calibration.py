"""What robots are calibrated by, and the versions of it. The hub knows what robots tell: the state says what is
applied, and events hold each version (`calibration.changed`, `.loaded`, `.versions`). Changes are commands."""

from contextlib import suppress
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

# Events that are looked at, in pages so small that the hub does not stand still for one: each start of a robot is an
# event with all its profiles. And versions of a profile of which it is said whether they are known.
PAGE, PAGES, LOOKED_FOR = 40, 100, 100

Known = dict[str, dict[int, Profile]]


@blueprint.get("")
@tag(["Robots"])
@document_response(CalibrationView)
@document_response(Problem, 404)
async def get_calibration(robot: str) -> Response:
    """What the robot is calibrated by, with the versions that the hub knows, newest first. Changes are commands:
    `calibration.set`, `calibration.rollback`, `calibration.remove`; `calibration.history` lets the robot send all its
    versions again."""
    record = record_of(robot)
    known = await _told(robot)
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


async def _told(robot: str) -> Known:
    """The versions that the robot's events hold, by name and number."""
    known: Known = {}
    cursor: str | None = None
    for _ in range(PAGES):
        page = await the_hub().store.events(robot=robot, name="calibration", limit=PAGE, cursor=cursor)
        for event in page.items:
            _take(event, known)
        cursor = page.next
        if cursor is None:
            break
    return known


def _take(event: StoredEvent, known: Known) -> None:
    """Add the versions in an event. What was told last, and so comes first, counts: a robot whose history was lost
    begins again at 1. What is no profile is passed over, since events may hold anything."""
    several: Any = event.data.get("profiles")
    for written in [event.data.get("profile"), *(several if isinstance(several, list) else ())]:
        if not isinstance(written, dict):
            continue
        name, version = written.get("name"), written.get("version", 1)
        if isinstance(name, str) and isinstance(version, int) and version in known.get(name, ()):
            continue
        with suppress(msgspec.ValidationError):
            profile = msgspec.convert(written, Profile)
            known.setdefault(profile.name, {}).setdefault(profile.version, profile)


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
