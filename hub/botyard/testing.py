"""Test tools for authors of plugins: virtual time, a transport in memory, a robot that does as it is told, and a hub
that runs with them.

Public, as `botyard.plugin` is, so that plugins are tested as the hub itself is::

    async with running_hub(tmp_path, plugins=[my_plugin]) as running:
        robot = running.robot("picker-7")
        await robot.telemetry({"battery.level": 0.93})
        await running.transport.committed()
        answer = await running.api.get("/api/v1/readings/latest", params={"robot": "picker-7"})
"""

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import httpx
import msgspec

from botyard.core.actor import HUB
from botyard.core.config import Config
from botyard.core.events import TransportChanged
from botyard.core.hub import Hub
from botyard.ingest.committer import Receipt
from botyard.plugin import AuthProvider, Inbound, Inbox, PluginContext, Transport, hookimpl
from botyard.plugin.manager import DEFAULT_PLUGINS, build_plugin_manager
from botyard_schemas import Ack, Envelope, topics
from botyard_schemas.clock import Clock
from botyard_schemas.messages import SEQUENCED, Command

__all__ = ["FakeRobot", "MemoryTransport", "RunningHub", "VirtualClock", "hub_config", "running_hub", "wait_until"]

# What a hub under test has of the built-in plugins: the broker is replaced by a transport in memory.
PLUGINS = tuple(name for name in DEFAULT_PLUGINS if "transport" not in name and "simulation" not in name)
COMMITTED_WITHIN = 20.0


class VirtualClock:
    """A clock that stands still until `advance` is called, and then wakes one sleeper after the other."""

    def __init__(self, start: int = 1_763_712_000_000_000) -> None:
        self._start = start
        self._elapsed = 0
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = itertools.count()

    def now(self) -> int:
        return self._start + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed / 1e6

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + max(1, round(seconds * 1e6)), next(self._count), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass. What the woken do is waited for as far as it needs no real time, such as a disk's."""
        end = self._elapsed + round(seconds * 1e6)
        await _let_run()
        while self._sleepers and self._sleepers[0][0] <= end:
            self._elapsed, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
                await _let_run()
        self._elapsed = end


async def _let_run() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def wait_until(condition: Callable[[], object], *, within: float = 20.0, every: float = 0.005) -> None:
    """Wait in real time, for what real processes and disks do. Raises TimeoutError after `within` seconds."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - what happens in other processes sets no event
            await asyncio.sleep(every)


class MemoryTransport(Transport):
    """A transport without a network, and the plugin that registers it. `sent` is what the hub sent to robots.

    `peer` is the address that robots seem to come from; None: a broker stands in between.
    """

    def __init__(self, name: str = "memory", *, peer: str | None = None) -> None:
        self.name = name
        self.peer = peer
        self.sent: list[Envelope] = []
        self._inbox: Inbox | None = None
        self._context: PluginContext | None = None
        self._error: str | None = "not started"
        self._last: Receipt | None = None

    @hookimpl
    def botyard_transports(
        self,
        context: PluginContext,
        inbox: Inbox,
        auth: Sequence[AuthProvider],  # noqa: ARG002 - pluggy goes by the names
    ) -> Sequence[Transport]:
        self._context, self._inbox = context, inbox
        return [self]

    async def __aenter__(self) -> Self:
        self.connect()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._error = "stopped"

    @property
    def address(self) -> str:
        return f"{self.name}://"

    @property
    def connected(self) -> bool:
        return self._error is None

    @property
    def error(self) -> str | None:
        return self._error

    def connect(self) -> None:
        """Say that messages can pass."""
        self._change(None)

    def disconnect(self, error: str) -> None:
        """Say that messages cannot pass, and why."""
        self._change(error)

    async def send(self, envelope: Envelope) -> bool:
        if not self.connected:
            return False
        self.sent.append(envelope)
        return True

    async def deliver(self, topic: str, payload: bytes, *, retained: bool = False) -> Receipt:
        """A message from outside, as bytes. Gives what the inbox says of it. `retained` as a broker says it."""
        if self._inbox is None or self._context is None:
            raise RuntimeError(f"transport {self.name!r} was not given to a hub yet")
        message = Inbound(topic, payload, self._context.clock.now(), self.name, self.peer, retained)
        self._last = cast("Receipt", await self._inbox.receive(message))
        return self._last

    async def committed(self) -> None:
        """Wait until everything that was delivered is in the store and acknowledged."""
        if self._last and self._last.done:
            async with asyncio.timeout(COMMITTED_WITHIN):
                await asyncio.shield(self._last.done)

    def _change(self, error: str | None) -> None:
        if self._context is None:
            raise RuntimeError(f"transport {self.name!r} was not given to a hub yet")
        self._error = error
        change = TransportChanged(actor=HUB, transport=self.name, connected=error is None, error=error)
        self._context.bus.publish(change)


class FakeRobot:
    """Says what a test wants a robot to say. It numbers its messages, and keeps nothing."""

    def __init__(self, robot: str, transport: MemoryTransport, clock: Clock, *, epoch: str = "epoch-1") -> None:
        self.id = robot
        self.epoch = epoch
        self.seq = 0
        self._transport = transport
        self._clock = clock

    def message(self, kind: str, body: Any, **changes: Any) -> dict[str, Any]:
        """The next message as a JSON object, with the fields in `changes` put over it."""
        raw = {"v": 1, "robot": self.id, "ts": self._clock.now(), "type": kind, "body": body}
        if kind in SEQUENCED and "seq" not in changes:
            self.seq += 1
            raw["seq"] = self.seq
        if kind in SEQUENCED:
            raw["epoch"] = self.epoch
        return {**raw, **changes}

    async def post(self, raw: Mapping[str, Any]) -> Receipt:
        """Send a message as it is, on the topic of its type."""
        return await self._transport.deliver(_topic(self.id, str(raw["type"])), msgspec.json.encode(raw))

    async def send(self, kind: str, body: Any, **changes: Any) -> Receipt:
        """Number and send a message."""
        return await self.post(self.message(kind, body, **changes))

    async def telemetry(self, values: Mapping[str, Any], **changes: Any) -> Receipt:
        """Send one sample of each of these channels. Their types are guessed from the values."""
        channels = [{"name": name, "type": _type_of(value), "values": [value]} for name, value in values.items()]
        return await self.send("telemetry", {"groups": [{"dt": [0], "channels": channels}]}, **changes)

    async def state(self, **fields: Any) -> Receipt:
        """Send the robot's state; healthy and in mode `auto`, unless the fields say otherwise."""
        return await self.send("state", {"mode": "auto", "health": "ok", **fields})

    async def event(self, name: str, severity: str = "info", **fields: Any) -> Receipt:
        """Send an event."""
        return await self.send("event", {"name": name, "severity": severity, **fields})

    async def report(self, command: str, status: str, **fields: Any) -> Receipt:
        """Report on a command."""
        return await self.send("report", {"command": command, "status": status, **fields})

    async def presence(self, status: str = "online", session: str = "s1", **fields: Any) -> Receipt:
        """Send a presence message."""
        return await self.send("presence", {"status": status, "session": session, **fields})

    @property
    def acknowledged(self) -> int:
        """How far the hub says that the robot's epoch is committed."""
        return max((ack.seq for ack in self.acks if ack.epoch == self.epoch), default=0)

    @property
    def acks(self) -> list[Ack]:
        """All acknowledgements that the robot got."""
        return [sent.body for sent in self._transport.sent if sent.robot == self.id and isinstance(sent.body, Ack)]

    @property
    def commands(self) -> list[Command]:
        """All commands that the robot got, one that was sent again as often as it was."""
        return [sent.body for sent in self._transport.sent if sent.robot == self.id and isinstance(sent.body, Command)]


def _topic(robot: str, kind: str) -> str:
    return topics.presence(robot) if kind == "presence" else topics.up(robot, kind)


def _type_of(value: object) -> str:
    kinds = {bool: "boolean", int: "integer", float: "number", str: "text"}
    return kinds.get(type(value), "object")


@dataclass(frozen=True, slots=True)
class RunningHub:
    """A hub, the transport in memory that leads to it, and a client of its HTTP API (`/api/v1/…`)."""

    hub: Hub
    transport: MemoryTransport
    api: httpx.AsyncClient

    def robot(self, robot: str, *, epoch: str = "epoch-1") -> FakeRobot:
        """A robot that speaks over the transport."""
        return FakeRobot(robot, self.transport, self.hub.clock, epoch=epoch)


def hub_config(folder: Path, **sections: Any) -> Config:
    """A configuration with its data in `folder`, on free ports of the loopback interface. `sections` are as in
    config.yaml: `hub_config(tmp_path, fleet={"auto_accept": False})`."""
    free = {name: {"port": 0, **sections.pop(name, {})} for name in ("web", "broker")}
    return msgspec.convert({"base": folder, **free, **sections}, Config)


@asynccontextmanager
async def running_hub(
    folder: Path,
    *,
    plugins: Iterable[object] = (),
    clock: Clock | None = None,
    processes: bool = False,
    **sections: Any,
) -> AsyncIterator[RunningHub]:
    """A hub with a real store in `folder` and without a broker, for as long as the block lasts.

    `plugins` are modules or objects with hooks, loaded after the built-in access rule. SQLite works in this process
    unless `processes` asks for those that a hub has, which take half a second to start. Raises what `Hub` raises.
    """
    transport = MemoryTransport()
    manager = build_plugin_manager(defaults=PLUGINS)
    for plugin in (transport, *plugins):
        manager.register(plugin)
    manager.check_pending()
    async with (
        Hub(hub_config(folder, **sections), clock=clock, plugins=manager, processes=processes) as hub,
        httpx.AsyncClient(base_url=hub.web_url or "http://no-web", timeout=30) as api,
    ):
        yield RunningHub(hub, transport, api)
