"""One robot's runtime: composes drivers, outbox and link, and owns their tasks.

Clock, randomness and transport are passed in, so that many runtimes run in one process on virtual time.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any, Self

import msgspec

from botyard_edge.blocking import Elsewhere
from botyard_edge.boots import Boots, keep
from botyard_edge.bus import Bus
from botyard_edge.calibrating import make_calibration, offer_calibration
from botyard_edge.calibration.door import answer_calibration
from botyard_edge.commands import CommandDesk
from botyard_edge.config import Config, DriverSettings
from botyard_edge.durable import SqliteOutbox
from botyard_edge.hosting import DriverHost
from botyard_edge.hubtime import HubClock
from botyard_edge.link import Link
from botyard_edge.local.door import LocalDoor
from botyard_edge.local.page import LocalPage
from botyard_edge.local.status import Face
from botyard_edge.memory import MemoryOutbox
from botyard_edge.node import END_WITHIN, Node, RestartPolicy, Work
from botyard_edge.outbox import Outbox
from botyard_edge.pulse import Pulse
from botyard_edge.recorder import Recorder
from botyard_edge.safeguard import Safeguard
from botyard_edge.safety import NO_POLICY, SafetyNode, Store, declared
from botyard_edge.single import Single
from botyard_edge.state import StateKeeper
from botyard_edge.timing import wait_event
from botyard_edge.transport import Transport
from botyard_schemas import __version__
from botyard_schemas.clock import Clock, SystemClock
from botyard_schemas.messages import Event, LinkState, NodeState, Report, Severity

log = logging.getLogger(__name__)

# What the robot cannot do without is started again for ever.
ALWAYS = RestartPolicy(failures=None)

# Seconds of silence in which the runtime's own nodes hang: none of their steps takes nearly as long.
SILENCE = 30.0

# Events of the runtime itself that wait for the outbox.
MAX_EVENTS = 256


class Runtime:
    """Runs while its `async with` lasts. Leaving it stops the drivers, flushes what it can, and says goodbye.

    `clock` is the robot's own; everything inside runs on an estimate of the hub's, which begins with it. `boot` names
    the boot that its steady clock began with; None: with this process. `elsewhere` is where a recording is written;
    None: in a thread of its own. `outboxes` makes the outbox, None: as the settings want it.
    """

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock,
        rng: random.Random,
        transport: Transport | Sequence[Transport],
        outbox: Outbox | None = None,
        boot: str | None = None,
        elsewhere: Elsewhere | None = None,
        outboxes: "OutboxMaker | None" = None,
    ) -> None:
        self.config = config
        self._nodes: dict[str, Node] = {}
        self._pulses: dict[str, Pulse] = {}
        self.bus = Bus()
        self._real_time = real_time = isinstance(clock, SystemClock)
        self.clock = clock = HubClock(clock, boot or f"{rng.getrandbits(64):016x}")
        self.boots = Boots(config.robot, config.clock_file)
        clock.boots = lambda: self.boots.earlier(clock)
        self._clock = clock
        self._rng = rng
        self.outbox: Outbox = outbox or (outboxes or make_outbox)(config, clock, rng, self._on_disk)
        self._stopping = asyncio.Event()
        self._events: asyncio.Queue[Event | Report] = asyncio.Queue(MAX_EVENTS)
        about = msgspec.structs.replace(config.about, software=f"botyard-edge {__version__}")
        limits = declared(config.safety or NO_POLICY)
        self.state = StateKeeper(
            about,
            self.outbox.put,
            self._link_state,
            clock=clock,
            settings=config.state,
            limits=limits,
            calibration=lambda: self.calibration.state(),
            pulse=self._pulse("state"),
        )
        self.safety = SafetyNode(
            config.safety or NO_POLICY,
            clock=clock,
            store=Store(config.latch_file) if config.latch_file else None,
            strict=config.safety is not None,
            drivers=[driver.name for driver in config.drivers],
            dock=config.dock,
            threads=real_time,
        )
        self.calibration = make_calibration(
            config, self.safety, self.state, self._queue, clock=clock, threads=real_time
        )
        self.desk = CommandDesk(
            self.outbox.put,
            clock=clock,
            stop=lambda: self._host.stop(),
            safety=self.safety,
            calibration=self.calibration,
            pulse=self._pulse("commands"),
        )
        offer_calibration(self.desk, self.calibration, config, clock=clock, rng=rng)
        self.link = Link(
            config.robot,
            transport,
            self.outbox,
            clock=clock,
            rng=rng,
            on_command=self.desk.take,
            bus=self.bus,
            settings=config.link,
            hub_time=clock,
            pulse=self._pulse("link"),
        )
        self.face = Face(
            config.robot,
            self.safety,
            clock=clock,
            state=self.state.snapshot,
            to=lambda: self.link.address,
            calibration=self.calibration.summary,
        )
        self._host = DriverHost(
            config,
            self.outbox,
            self.state,
            self.desk,
            self.bus,
            clock=clock,
            safety=self.safety,
            calibration=self.calibration,
        )
        self._safeguard = Safeguard(
            self.safety,
            self.state,
            self.desk,
            self._host,
            self.bus,
            clock=clock,
            send=self._queue,
            watches=real_time,
            pulse=self._pulse("safety"),
        )
        clock.on_met = self._host.cut
        self._recorder = (
            None
            if config.record is None
            else Recorder(
                config.record, config.robot, self.bus, clock=clock, elsewhere=elsewhere, pulse=self._pulse("record")
            )
        )
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stack = AsyncExitStack()
        self._group: asyncio.TaskGroup

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            if self.config.lock_file is not None:  # before anything is read, let alone written
                await stack.enter_async_context(Single(self.config.lock_file, self._clock))
            if known := self.boots.load(self.clock.boot):
                self.clock.remember(known)
            await stack.enter_async_context(self._safeguard)
            stack.callback(self.calibration.close)
            stack.push_async_callback(self.calibration.settled)
            self.calibration.open()
            if self._real_time:
                await self._open_face(stack)
            await stack.enter_async_context(self.outbox)
            if self._recorder is not None:
                await stack.enter_async_context(self._recorder)
            self._group = await stack.enter_async_context(asyncio.TaskGroup())
            self._start("link", _forever(self.link.run))
            self._start("state", _forever(self.state.run))
            self._start("commands", _forever(self.desk.run))
            self._start("events", _forever(self._pass_events_on))
            self._start("safety", _forever(self._safeguard.run))
            if self.config.outbox.path is not None:
                self._start("clock", _forever(lambda: keep(self.boots, self.clock, self._pulse("clock"))))
            if self._recorder is not None:
                self._start("record", self._recorder.run)
            for settings in self.config.drivers:
                self._start_driver(settings)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        try:
            await self._wind_up()
        finally:
            for task in self._tasks.values():
                task.cancel()
            await self._stack.aclose()

    async def _open_face(self, stack: AsyncExitStack) -> None:
        """Let people at the robot in, before anything else of it runs: they may have to see why that fails."""
        settings, page = self.config.page, None
        if settings is not None:
            page = await stack.enter_async_context(LocalPage(self.face, settings, self.config.key_file))
        if self.config.door_file:
            door = LocalDoor(
                self.config.door_file,
                self.face,
                lambda: page.address_with_key if page else None,
                lambda args, who: answer_calibration(self.calibration, self.bus, args, who),
            )
            await stack.enter_async_context(door)

    async def run(self) -> int:
        """Run until `stop` is called, or with `exit_when_done` until everything is done. Returns the exit code."""
        async with self:
            await self.wait()
        return 1 if self.failed and self.config.exit_when_done else 0

    async def wait(self) -> None:
        """Wait for `stop`, or with `exit_when_done` for the drivers' end and the hub's last acknowledgement."""
        if not self.config.exit_when_done:
            await self._stopping.wait()
            return
        waits = {
            asyncio.create_task(self._stopping.wait(), name="edge.stopping"),
            asyncio.create_task(self.done(), name="edge.done"),
        }
        try:
            finished, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for task in finished:
                task.result()
        finally:
            for task in waits:
                task.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def stop(self) -> None:
        """Ask for the end."""
        self._stopping.set()

    async def done(self) -> None:
        """Wait until every driver has ended by itself and the hub has acknowledged everything."""
        await asyncio.wait([self._tasks[_driver_node(settings.name)] for settings in self.config.drivers])
        await self._events.join()
        await self.state.flush()
        await self.outbox.drained()

    @property
    def failed(self) -> bool:
        """Whether a driver cannot work."""
        return any(node.state.status == "failed" for node in self._nodes.values())

    @property
    def abandoned(self) -> list[str]:
        """The nodes of which something still runs although it was told to end."""
        return [name for name, node in self._nodes.items() if node.abandoned]

    async def _wind_up(self) -> None:
        """Stop the drivers, and give what is left a bounded time to reach the hub."""
        at_rest = await self._host.stop()
        await self._bounded(self.desk.end("the edge ends"), "edge.commands.end")
        if at_rest:  # else the next start counts as one in the middle of a motion
            self.safety.at_rest()
        drivers = [self._tasks[_driver_node(settings.name)] for settings in self.config.drivers]
        for task in drivers:
            task.cancel()
        await asyncio.gather(*drivers, return_exceptions=True)
        if not await self._bounded(self._flush(), "edge.flush"):
            # What still waits for room takes the reserve now, else it would end with this process.
            await self._bounded(self._host.flush(wait=False), "edge.flush.rest")
            log.info("%d messages are left after %.1f s", self.outbox.backlog, self.config.flush_timeout)

    async def _bounded(self, work: Coroutine[Any, Any, None], name: str) -> bool:
        """Give the work as long as the settings allow for flushing; returns whether it was enough."""
        finished = asyncio.Event()
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(lambda _: finished.set())
        try:
            return await wait_event(finished, self._clock, self.config.flush_timeout)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _flush(self) -> None:
        await self._host.flush()
        await self.state.flush()
        await self.outbox.drained()

    def _pulse(self, name: str) -> Pulse:
        """The signs of life of one of the runtime's own nodes. Where time is virtual nothing that waits for a thread is
        watched: time would run away from it."""
        if name not in self._pulses:
            threads = name in ("clock", "record") or not isinstance(self.outbox, MemoryOutbox)
            silence = None if threads and not self._real_time else SILENCE
            self._pulses[name] = Pulse(name, self.bus, self._clock, silence)
        return self._pulses[name]

    def _start(self, name: str, work: Work) -> None:
        node = Node(
            name,
            work,
            clock=self._clock,
            rng=self._rng,
            on_change=self._on_change,
            policy=ALWAYS,
            pulse=self._pulse(name),
            on_abandoned=lambda: self._tell_abandoned(name),
        )
        self._run(node)

    def _start_driver(self, settings: DriverSettings) -> None:
        rng = random.Random(self._rng.getrandbits(64))
        name = _driver_node(settings.name)
        pulse = Pulse(name, self.bus, self._clock, settings.silence)
        node = Node(
            name,
            self._host.work(settings, rng, pulse),
            clock=self._clock,
            rng=self._rng,
            on_change=self._on_change,
            policy=settings.restart,
            pulse=pulse,
            on_hung=lambda: self._host.halt(settings.name),
            on_abandoned=lambda: self._on_abandoned(settings.name),
        )
        self._run(node)

    def _run(self, node: Node) -> None:
        self._nodes[node.name] = node
        self._tasks[node.name] = self._group.create_task(node.run(), name=f"edge.{node.name}")

    def _on_abandoned(self, driver: str) -> None:
        self._host.abandon(driver)
        self._tell_abandoned(
            _driver_node(driver),
            f"{driver} did not end within {END_WITHIN:g} s of being told to, and may still hold its device",
        )

    def _tell_abandoned(self, node: str, message: str | None = None) -> None:
        message = (
            message or f"{node} did not end within {END_WITHIN:g} s of being told to, and another one takes its place"
        )
        self._queue(Event("node.abandoned", "error", message, data={"node": node}))

    def _on_change(self, name: str, state: NodeState) -> None:
        self.state.node(name, state)
        self.safety.node(name, state.status, state.error)
        self.bus.publish(f"nodes/{name}", state)
        if state.status == "failed":
            self._tell("node.failed", "error", f"{name} cannot work: {state.error}", name, state)
        elif state.status == "backoff" and state.reason == "hang":
            self._tell("node.hung", "warning", f"{name} hung and is started again: {state.error}", name, state)
        elif state.status == "backoff":
            self._tell("node.restarting", "warning", f"{name} failed and is started again: {state.error}", name, state)
        elif state.status == "running" and state.restarts:
            self._tell("node.recovered", "info", f"{name} works again", name, state)

    def _tell(self, event: str, severity: Severity, message: str, node: str, state: NodeState) -> None:
        data: dict[str, Any] = {"node": node, "restarts": state.restarts, "reason": state.reason}
        self._queue(Event(event, severity, message, data=data))

    def _queue(self, event: Event | Report) -> None:
        if self._events.full():
            log.warning("this is lost, since %d are waiting: %s", MAX_EVENTS, event)
            return
        self._events.put_nowait(event)

    async def _pass_events_on(self) -> None:
        while True:
            with self._pulse("events"):
                event = await self._events.get()
            try:
                await self.outbox.put(event)
            finally:
                self._events.task_done()

    def _link_state(self) -> LinkState:
        offset, round_trip = self.clock.offset, self.clock.round_trip
        return LinkState(
            self.outbox.backlog,
            self.outbox.dropped,
            msgspec.UNSET if offset is None else offset,
            msgspec.UNSET if round_trip is None else round_trip,
        )

    def _on_disk(self, trouble: str | None) -> None:
        """The outbox's disk fails, or works again: that is part of the robot's health, and an event."""
        if trouble is None:
            self.state.update("outbox", health="ok", health_reasons=[])
            self._queue(Event("outbox.disk_recovered", "info", "the outbox can write to its disk again"))
        else:
            self.state.update("outbox", health="warning", health_reasons=[f"outbox: {trouble}"])
            self._queue(Event("outbox.disk_failed", "error", f"the outbox cannot write to its disk: {trouble}"[:4096]))


OutboxMaker = Callable[[Config, HubClock, random.Random, Callable[[str | None], None]], Outbox]


def make_outbox(
    config: Config, clock: HubClock, rng: random.Random, on_trouble: Callable[[str | None], None]
) -> Outbox:
    """The outbox that the settings want, not open yet."""
    settings, stamp = config.outbox, clock.stamp
    if settings.path is None:
        return MemoryOutbox(config.robot, clock=clock, rng=rng, limits=settings.limits, stamp=stamp)
    return SqliteOutbox(
        config.robot,
        config.folder / settings.path,
        clock=clock,
        rng=rng,
        limits=settings.limits,
        durability=settings.durability,
        stamp=stamp,
        on_trouble=on_trouble,
    )


def _driver_node(name: str) -> str:
    return f"driver.{name}"


def _forever(run: Callable[[], Awaitable[None]]) -> Work:
    async def work(ready: Callable[[], None]) -> None:
        ready()
        await run()

    return work
