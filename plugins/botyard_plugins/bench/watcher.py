"""A browser, as far as time is concerned: a WebSocket client that watches some robots."""

import asyncio
import contextlib
from typing import Any

import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from botyard_plugins.bench.statistics import Durations
from botyard_schemas.clock import Clock

AGAIN_AFTER = 0.5


class _Samples(msgspec.Struct):
    ts: list[int]


class _Frame(msgspec.Struct):
    """Any frame of the live socket; only `readings` have channels."""

    type: str
    channels: list[_Samples] = []
    skipped: int = 0


_decode = msgspec.json.Decoder(_Frame).decode


class Watcher:
    """Measures from a sample's time stamp to its arrival at a client. `took` may be replaced at any time; samples from
    before `since` are not live and do not count."""

    def __init__(self, url: str, token: str | None, robots: list[str], sets: int, clock: Clock) -> None:
        self.took = Durations()
        self.since = 0
        self.frames = 0
        self.skipped = 0
        self.problem = ""
        self.connected = asyncio.Event()
        self._url = url.rstrip("/").replace("http", "ws", 1) + "/api/v1/ws"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._robots = robots
        self._sets = sets
        self._clock = clock

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            try:
                await self._watch()
                self.problem = "the hub closed the connection"
            except (OSError, WebSocketException, TimeoutError) as error:
                self.problem = str(error) or type(error).__name__
            self.connected.clear()
            await asyncio.sleep(AGAIN_AFTER)

    async def _watch(self) -> None:
        async with connect(
            self._url, additional_headers=self._headers, max_size=None, compression=None, max_queue=1024
        ) as socket:
            await socket.send(msgspec.json.encode({"type": "watch", "robots": self._robots}).decode())
            self.connected.set()
            async for text in socket:
                self._take(text, self._clock.now())

    def _take(self, text: Any, now: int) -> None:
        with contextlib.suppress(msgspec.DecodeError):
            frame = _decode(text)
            if frame.type == "readings" and frame.channels:
                self.frames += 1
                self.skipped += frame.skipped
                # one channel stands for all, and the last sample for its message: the others were made earlier
                ends = frame.channels[0].ts[self._sets - 1 :: self._sets]
                self.took.add([now - ts for ts in ends if ts >= self.since])
