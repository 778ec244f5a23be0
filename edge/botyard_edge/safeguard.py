"""The safety node at work in a runtime: what it decides reaches drivers, commands, state and outbox, and time and link
reach it."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Self

from botyard_edge.bus import Bus
from botyard_edge.commands import CommandDesk
from botyard_edge.hosting import DriverHost
from botyard_edge.hubtime import HubClock
from botyard_edge.pulse import UNWATCHED, Silent
from botyard_edge.safety import OWN_IDS, SafetyNode, Watchdog
from botyard_edge.state import StateKeeper
from botyard_edge.timing import wait_event
from botyard_schemas.messages import Command, Event, Mode, Report

# Seconds in which the robot may set out for its dock; how long the way takes is the driver's affair.
RETURN_WITHIN = 60.0


class Safeguard:
    """Open while its `async with` lasts, which is before anything else of the robot; `send` takes what the hub is to
    hear. `watches`: the event loop is watched by a thread, which only makes sense on real time."""

    def __init__(
        self,
        safety: SafetyNode,
        state: StateKeeper,
        desk: CommandDesk,
        host: DriverHost,
        bus: Bus,
        *,
        clock: HubClock,
        send: Callable[[Event | Report], None],
        watches: bool,
        pulse: Silent = UNWATCHED,
    ) -> None:
        self._safety = safety
        self._state = state
        self._desk = desk
        self._host = host
        self._bus = bus
        self._clock = clock
        self._send = send
        self._watches = watches
        self._pulse = pulse
        self._watchdog: Watchdog | None = None
        self._wake = asyncio.Event()
        self._rest_wanted = False
        self._home: str | None = None
        self._stopping: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop
        self._thread = 0

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._safety.listener = self
        self._safety.open()
        within = self._safety.policy.watchdogs.event_loop
        if within is not None and self._watches:
            self._watchdog = Watchdog(
                within,
                ask=self._loop.call_soon_threadsafe,
                on_blocked=self._safety.blocked,
                on_back=self._safety.back,
            )
            self._watchdog.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._watchdog is not None:
            self._watchdog.stop()
        self._safety.close()
        self._safety.listener = None

    async def run(self) -> None:
        """Look at the time, follow the link, and bring drivers to rest when that is wanted, for ever."""
        async with asyncio.TaskGroup() as tasks:
            if self._safety.policy.watchdogs.link != "continue":
                tasks.create_task(self._follow_link(), name="edge.safety.link")
            while True:
                self._wake.clear()
                if self._rest_wanted:
                    self._rest_wanted = False
                    # Also while an earlier one waits for a driver that hangs: it ends within a bounded time.
                    self._stopping = tasks.create_task(self._host.stop(), name="edge.safety.stop")
                if self._home is not None:
                    command, self._home = self._home, None
                    tasks.create_task(self._go_home(command, self._stopping), name="edge.safety.return")
                due = self._safety.due(self._clock.monotonic())
                with self._pulse:
                    woken = await self._wait(due)
                if not woken:
                    self._tick()

    async def _go_home(self, name: str, stopping: "asyncio.Task[Any] | None") -> None:
        if stopping is not None:
            await asyncio.wait([stopping])
        now = self._clock.now()
        command = Command(f"{OWN_IDS}return.{now}", name, now + round(RETURN_WITHIN * 1e6), cause="link_lost")
        report = await self._desk.order(command)
        self._safety.act(lambda core: core.returned(report))

    async def _wait(self, due: float | None) -> bool:
        """Until something happens or that moment has come; whether something happened."""
        if due is None:
            return await self._wake.wait()
        return await wait_event(self._wake, self._clock, due - self._clock.monotonic())

    async def _follow_link(self) -> None:
        connected = bool(self._bus.latest("link/connected", False))
        with self._bus.subscribe("link/connected") as changes:
            while True:
                steady = self._clock.monotonic()
                self._safety.linked(connected, steady)
                connected = bool((await changes.get()).value)

    def _tick(self) -> None:
        _, own = self._clock.own()
        self._safety.tick(own)

    # --- what the safety node wants, in whichever thread

    def rest(self, reason: str) -> None:
        """Bring the drivers to rest, and end what moves the robot."""
        self._in_loop(lambda: self._rest(reason))

    def hand_over(self, reason: str) -> None:
        """End what moves the robot, and leave the drivers alone."""
        self._in_loop(lambda: self._desk.cancel_motion(reason))

    def tell(self, event: Event) -> None:
        """Send an event."""
        self._in_loop(lambda: self._send(event))

    def answer(self, report: Report) -> None:
        """Send a report."""
        self._in_loop(lambda: self._send(report))

    def go_home(self, command: str) -> None:
        """Execute the command once the drivers are at rest."""
        self._in_loop(lambda: self._wish_home(command))

    def changed(self, mode: Mode, reason: str | None) -> None:
        """Tell the mode, and look anew when to wake up."""
        self._in_loop(lambda: self._changed(mode, reason))

    def _rest(self, reason: str) -> None:
        self._desk.cancel_motion(reason)
        self._rest_wanted = True
        self._wake.set()

    def _wish_home(self, command: str) -> None:
        self._home = command
        self._wake.set()

    def _changed(self, mode: Mode, reason: str | None) -> None:
        self._state.override(mode if mode in ("safe", "estop") else None, reason)
        self._wake.set()

    def _in_loop(self, work: Callable[[], None]) -> None:
        if threading.get_ident() == self._thread:
            work()
        else:
            self._loop.call_soon_threadsafe(work)
