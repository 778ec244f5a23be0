"""One connection to the hub over one transport, from its opening to its end."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from botyard_edge.hubtime import HubClock
from botyard_edge.pulse import ended_within
from botyard_edge.sender import Sender
from botyard_edge.timing import wait_event
from botyard_edge.transport import Received, Session, Transport, TransportError, Will
from botyard_schemas import Body, Envelope, Presence, Time, encode, topics
from botyard_schemas.clock import Clock

# A question for the hub's time is repeated after this while its answer is needed as a proof: seconds.
ASK_AGAIN = 2.0
# The hub's word that the robot stops is waited for so long: seconds.
GOODBYE_WITHIN = 3.0


@dataclass(frozen=True, slots=True)
class LineContext:
    """What all lines of a robot share. `take` gets what arrives, and gives the body of what is for this robot;
    `on_heard` hears when the hub has answered over a line. Times in seconds; a line over which the hub says nothing for
    `patience` ends, None: it does not."""

    robot: str
    clock: Clock
    sender: Sender
    hub_time: HubClock | None
    take: Callable[[Received], Body | None]
    on_heard: Callable[["Line"], None]
    heartbeat: float
    time_period: float
    patience: float | None


class Line:
    """One connection, in a task of its own.

    It goes through stages, so that it can be tried out beside the one that carries: `connect` to the transport, `prove`
    that the hub answers over it, `announce` that the robot is here now, and `carry` the outbox.
    """

    def __init__(self, context: LineContext, transport: Transport, rank: int, session_id: str) -> None:
        self.transport = transport
        self.rank = rank
        self.began: float | None = None
        self.ended = asyncio.Event()
        self.heard = False
        self.silent = False
        self.quiet = False
        self._context = context
        self._clock = context.clock
        self._session_id = session_id
        self._session: Session
        self._settled = asyncio.Event()
        self._carrying = asyncio.Event()
        self._answered = asyncio.Event()
        self._asked: set[int] = set()
        self._heard_at = 0.0
        self._announced = False
        self._goodbye = False
        self._since = 0
        self._task: asyncio.Task[None] | None = None

    async def connect(self, within: float) -> None:
        """Open it. Raises TransportError; it has to be closed in any case."""
        self._task = asyncio.create_task(self._run(), name="edge.link.line")
        self._task.add_done_callback(self._over)
        if not await wait_event(self._settled, self._clock, within):
            raise TransportError(f"no answer within {within:g} s")
        self._check()

    async def prove(self, within: float) -> bool:
        """Whether the hub answers a question over it, and so has dealt with everything that was sent before."""
        hub_time = self._context.hub_time
        end = self._clock.monotonic() + within
        self._answered.clear()
        self._asked.clear()
        while hub_time is not None and not self._answered.is_set():
            left = end - self._clock.monotonic()
            if left <= 0 or self.ended.is_set():
                return False
            question = hub_time.request()
            self._asked.add(question.origin)
            try:
                await self._send_time(question)
            except TransportError:
                return False
            await wait_event(self._answered, self._clock, min(ASK_AGAIN, left))
        return not self.ended.is_set()

    async def announce(self) -> None:
        """Tell the hub that the robot is on this connection now. Raises TransportError."""
        self._check()
        self._since = self._clock.now()
        self._announced = True
        await self._say("online", "connected", wait=True)

    def carry(self) -> None:
        """Send what the outbox holds, and signs of life, from now on."""
        self.began = self._heard_at = self._clock.monotonic()
        self._carrying.set()

    async def close(self, *, goodbye: bool = False) -> None:
        """End it; with `goodbye` the hub is told that the robot stops."""
        self._goodbye = goodbye
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def trouble(self) -> str:
        """Why it ended. Raises what is no trouble of the transport."""
        if self._task is None or self._task.cancelled():
            return "it was closed"
        error = self._task.exception()
        if isinstance(error, BaseExceptionGroup):
            own, other = error.split(TransportError)
            if other is not None:
                raise other
            error = own
        elif error is not None and not isinstance(error, TransportError):
            raise error
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        return str(error)

    def _over(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled():
            task.exception()  # `trouble` tells it to whoever asks
        self.ended.set()
        self._settled.set()
        self._answered.set()

    def _check(self) -> None:
        if self.ended.is_set():
            raise TransportError(self.trouble())

    async def _run(self) -> None:
        robot = self._context.robot
        will = Will(topics.presence(robot), self._presence("offline", "last_will", None))
        async with self.transport.session(will) as session:
            await session.subscribe(topics.all_down(robot))
            self._session = session
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._read(session), name="edge.link.read")
                    self._settled.set()
                    await self._carrying.wait()
                    # First the time: what is still to be corrected waits for it at the hub.
                    tasks.create_task(self._ask_time(), name="edge.link.time")
                    tasks.create_task(self._context.sender.run(session), name="edge.link.send")
                    tasks.create_task(self._beat(), name="edge.link.heartbeat")
                    tasks.create_task(self._watch(), name="edge.link.watch")
            except asyncio.CancelledError:
                if self._goodbye and self._announced:
                    await self._say_goodbye()
                raise

    async def _say_goodbye(self) -> None:
        """Within a bounded time: this may be the end of a connection that takes nothing any more."""
        task = asyncio.create_task(self._say("offline", "stopped", wait=True), name="edge.link.goodbye")
        try:
            if await ended_within(task, self._clock, GOODBYE_WITHIN):
                task.result()
        finally:
            task.cancel()

    async def _read(self, session: Session) -> None:
        async for message in session.messages():
            body = self._context.take(message)
            if body is None:
                continue
            self._heard_at = self._clock.monotonic()
            if not self.heard:
                self.heard = True
                self._context.on_heard(self)
            if isinstance(body, Time) and body.origin in self._asked:
                self._answered.set()

    async def _ask_time(self) -> None:
        """Ask the hub for its time, often at first, so that the shortest of several round trips counts soon."""
        pause = 1.0
        while self._context.hub_time is not None:
            await self._send_time(self._context.hub_time.request())
            await self._clock.sleep(min(pause, self._context.time_period))
            pause *= 2.0

    async def _send_time(self, question: Time) -> None:
        robot = self._context.robot
        await self._session.publish(
            topics.up(robot, "time"), encode(Envelope(robot, self._clock.now(), question)), qos=0
        )

    async def _beat(self) -> None:
        while True:
            await self._clock.sleep(self._context.heartbeat)
            if not self.quiet:
                await self._say("online", "heartbeat")

    async def _watch(self) -> None:
        """End when the hub says nothing, so that another transport is tried."""
        patience = self._context.patience
        while patience is not None:
            await self._clock.sleep(patience / 4)
            if self._clock.monotonic() - self._heard_at > patience:
                self.silent = True
                raise TransportError(f"the hub has not answered over it for {patience:g} s")

    async def _say(self, status: str, reason: str, *, wait: bool = False) -> None:
        payload = self._presence(status, reason, self._since)
        await self._session.publish(topics.presence(self._context.robot), payload, qos=1, retain=True, wait=wait)

    def _presence(self, status: str, reason: str, since: int | None) -> bytes:
        interval = self._context.heartbeat if status == "online" else None
        body = Presence(status=status, session=self._session_id, reason=reason, since=since, interval=interval)  # type: ignore[arg-type]
        return encode(Envelope(self._context.robot, self._clock.now(), body))
