"""A robot alone: a way to a hub that is not there, which takes and acknowledges everything."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

from botyard_edge.notices import DROPPED
from botyard_edge.transport import Received, Session, Will
from botyard_schemas import Ack, Body, Envelope, Event, Time, decode, encode, topics
from botyard_schemas.clock import Clock
from botyard_schemas.messages import SEQUENCED

# Answers that wait for the robot. The latest acknowledgement says what all before it did.
MAX_ANSWERS = 1024


class Alone:
    """The transport of a robot without a hub. `heard` gets each message that would have gone out."""

    address = "nowhere"

    def __init__(self, clock: Clock, heard: Callable[[bytes], None] = lambda _: None) -> None:
        self._clock = clock
        self._heard = heard

    @asynccontextmanager
    async def session(self, will: Will) -> AsyncGenerator[Session, None]:
        del will  # nobody would hear it
        yield _AloneSession(self._clock, self._heard)


class _AloneSession:
    def __init__(self, clock: Clock, heard: Callable[[bytes], None]) -> None:
        self._clock = clock
        self._heard = heard
        self._answers: asyncio.Queue[Received] = asyncio.Queue(MAX_ANSWERS)
        self._reached: dict[str, int] = {}
        self._beyond: dict[str, set[int]] = {}

    async def subscribe(self, topic: str) -> None: ...

    async def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool = False, wait: bool = False) -> None:
        del topic, qos, retain, wait
        self._heard(payload)
        envelope = decode(payload)
        body = envelope.body
        if isinstance(body, Time):
            now = self._clock.now()
            self._answer(envelope.robot, Time(body.origin, now, now))
        elif envelope.type in SEQUENCED:
            spans = [(envelope.seq, envelope.seq)]
            if isinstance(body, Event) and body.name == DROPPED:
                spans += [(first, last) for first, last in body.data["ranges"]]
            self._answer(envelope.robot, Ack(envelope.epoch, self._settle(envelope.epoch, spans)))

    async def messages(self) -> AsyncIterator[Received]:
        while True:
            yield await self._answers.get()

    def _settle(self, epoch: str, spans: list[tuple[int, int]]) -> int:
        """Take in numbers; gives how far they are complete."""
        reached, beyond = self._reached.get(epoch, 0), self._beyond.setdefault(epoch, set())
        for first, last in spans:
            beyond.update(range(max(first, reached + 1), last + 1))
        while reached + 1 in beyond:
            reached += 1
            beyond.discard(reached)
        self._reached[epoch] = reached
        return reached

    def _answer(self, robot: str, body: Body) -> None:
        if self._answers.full():
            self._answers.get_nowait()
        envelope = Envelope(robot, self._clock.now(), body)
        self._answers.put_nowait(Received(topics.down(robot, envelope.type), encode(envelope)))
