"""Whether a robot, or anybody else, is let in."""

import asyncio
import enum
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from botyard.plugin.api import Allow, AuthProvider, Connection, Deny
from botyard_schemas import Reason

log = logging.getLogger(__name__)

# A provider that does not answer must not hold up the line for longer: seconds.
AUTH_WITHIN = 5.0


class Admission(enum.Enum):
    """Whether what a robot sends is taken in."""

    ACCEPTED = "accepted"
    PENDING = "pending"
    REFUSED = "refused"
    RETIRED = "retired"
    UNDECIDED = "undecided"

    @property
    def refusal(self) -> Reason:
        """Why messages of a robot that is not accepted are refused."""
        return _REFUSALS.get(self, Reason.REFUSED)


_REFUSALS = {Admission.PENDING: Reason.UNKNOWN_ROBOT, Admission.RETIRED: Reason.RETIRED}


class Admitted(NamedTuple):
    """What was decided about a robot's connection, and what the connection is known by."""

    transport: str
    peer: str | None
    token: str | None
    session: str | None
    decision: tuple[Admission, str]


@dataclass(frozen=True, slots=True)
class Failed(Deny):
    """Nobody can tell just now: a visitor is turned away, and a robot keeps what it has until somebody can."""


async def authenticate(providers: Sequence[AuthProvider], connection: Connection) -> Allow | Deny:
    """Ask the providers in order; the first opinion counts, and nobody's opinion is a refusal."""
    for provider in providers:
        try:
            async with asyncio.timeout(AUTH_WITHIN):
                access = await provider.authenticate(connection)
        except Exception:
            log.exception("%s failed on a connection of %s", type(provider).__name__, connection.robot or "a visitor")
            return Failed("the access check failed, see the hub's log")
        if access is not None:
            return access
    return Deny("no auth provider lets you in")
