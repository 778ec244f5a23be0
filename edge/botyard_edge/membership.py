"""A robot that leaves the fleet on its own account, and one that comes back: `botyard-edge retire` and `return`.

Both are said by presence: what a hub that is not there at the moment need not know, it need not be told for ever.
"""

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass

from botyard_edge.boots import Boots, boot_id
from botyard_edge.bus import Bus
from botyard_edge.config import Config
from botyard_edge.hubtime import HubClock
from botyard_edge.link import Link
from botyard_edge.outbox import Outbox
from botyard_edge.runtime import make_outbox
from botyard_edge.timing import wait_event
from botyard_edge.transport import Transport, TransportError, Will
from botyard_schemas import Command, Envelope, Presence, encode, topics
from botyard_schemas.clock import Clock
from botyard_schemas.messages import PresenceReason

log = logging.getLogger(__name__)

# What one connection to say so may take: seconds.
SAY_WITHIN = 10.0


class MembershipError(Exception):
    """The robot could not leave or come back; the sentence says why and what to do."""


@dataclass(frozen=True, slots=True)
class Membership:
    """Speaks for one robot while its edge does not run. `clock` is its own; `outbox` that of the settings."""

    config: Config
    clock: Clock
    rng: random.Random
    transport: Transport | Sequence[Transport]
    outbox: Outbox | None = None

    async def retire(self, *, within: float, leave_behind: bool = False) -> int:
        """Hand over what is in the outbox within so many seconds, and leave; gives how many messages stay behind.

        With `leave_behind` it leaves in any case: what stays is kept for a return. Raises MembershipError, and
        OutboxError when the robot's edge is running.
        """
        left = await self._flush(within)
        if left and not leave_behind:
            raise MembershipError(
                f"{left} messages have not reached the hub within {within:g} s, so the robot is not retired; try again "
                "when the hub is there, or keep them for a return with --leave-behind"
            )
        await self._say(("offline", "retired"))
        return left

    async def come_back(self) -> None:
        """Say that the robot wants to take part again. Raises MembershipError."""
        await self._say(("online", "returned"), ("offline", "stopped"))

    async def _flush(self, within: float) -> int:
        clock = HubClock(self.clock, boot_id() or f"{self.rng.getrandbits(64):016x}")
        boots = Boots(self.config.robot, self.config.clock_file)
        if known := boots.load(clock.boot):
            clock.remember(known)
        boots.note(clock)
        clock.boots = lambda: boots.earlier(clock)
        outbox = self.outbox or make_outbox(self.config, clock, self.rng, lambda _: None)
        async with outbox:
            link = Link(
                self.config.robot,
                self.transport,
                outbox,
                clock=clock,
                rng=self.rng,
                on_command=_ignore,
                bus=Bus(),
                settings=self.config.link,
                hub_time=clock,
            )
            drained = asyncio.Event()
            tasks = [
                asyncio.create_task(link.run(), name="edge.link"),
                asyncio.create_task(_wait_drained(outbox, drained), name="edge.drained"),
            ]
            try:
                if outbox.backlog:
                    log.info("%d messages wait for the hub", outbox.backlog)
                    await wait_event(drained, clock, within)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            return outbox.backlog

    async def _say(self, *messages: tuple[str, PresenceReason]) -> None:
        """Say it over the first transport that works."""
        troubles = []
        for transport in self.transport if isinstance(self.transport, Sequence) else [self.transport]:
            try:
                async with asyncio.timeout(SAY_WITHIN):
                    await self._say_over(transport, messages)
            except (TransportError, TimeoutError) as error:
                why = str(error) or f"no answer within {SAY_WITHIN:g} s"
                troubles.append(f"the hub could not be told by way of {transport.address}: {why}")
            else:
                return
        raise MembershipError("; ".join(troubles))

    async def _say_over(self, transport: Transport, messages: Sequence[tuple[str, PresenceReason]]) -> None:
        session_id = f"{self.rng.getrandbits(64):016x}"
        topic = topics.presence(self.config.robot)
        will = Will(topic, self._presence("offline", "last_will", session_id))
        async with transport.session(will) as session:
            for status, reason in messages:
                payload = self._presence(status, reason, session_id)
                await session.publish(topic, payload, qos=1, retain=True, wait=True)

    def _presence(self, status: str, reason: PresenceReason, session: str) -> bytes:
        body = Presence(status=status, session=session, reason=reason)  # type: ignore[arg-type]
        return encode(Envelope(self.config.robot, self.clock.now(), body))


def _ignore(command: Command) -> None:
    log.info("command %s is ignored: the robot is leaving", command.name)


async def _wait_drained(outbox: Outbox, event: asyncio.Event) -> None:
    await outbox.drained()
    event.set()
