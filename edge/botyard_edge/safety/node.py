"""The safety node: the core behind a lock, so that the loop and the watchdog's thread may both tell it what happens,
with its effects carried out in the order of their urgency.
"""

import logging
import math
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from botyard_edge.driver import Channel, Command, CommandSpec, ConfigurationError, Driver, StateChange
from botyard_edge.safety.core import SafetyCore
from botyard_edge.safety.effects import Answer, Cause, Effect, HandOver, Keep, Note, Rest, Return, Tell, Verdict
from botyard_edge.safety.files import Files
from botyard_edge.safety.motion import Real, unkept
from botyard_edge.safety.policy import NO_POLICY, Policy
from botyard_edge.safety.store import Store
from botyard_edge.safety.units import UNITS
from botyard_schemas.clock import Clock
from botyard_schemas.messages import Event, Mode, Report

log = logging.getLogger(__name__)

T = TypeVar("T")
# Seconds after which something that was due and is not settled is looked at again: whoever looks must not spin.
AGAIN = 0.1
ANGLES = {"rad": 1.0, "deg": math.pi / 180.0}


class Listener(Protocol):
    """Who does what needs the event loop; called in whichever thread something happened."""

    def rest(self, reason: str) -> None:
        """Bring the drivers to rest, and end what moves the robot."""

    def hand_over(self, reason: str) -> None:
        """End what moves the robot, and leave the drivers alone."""

    def tell(self, event: Event) -> None:
        """Send an event."""

    def answer(self, report: Report) -> None:
        """Send a report."""

    def go_home(self, command: str) -> None:
        """Once the robot is at rest, execute this command as one of the robot's own, and say what became of it."""

    def changed(self, mode: Mode, reason: str | None) -> None:
        """Something was decided: the mode, or when to look again."""


class SafetyNode:
    """`store` None: nothing is remembered across a restart. `drivers` are the names in the settings, and `dock` is the
    command that brings the robot home. `threads`: the disk is waited for in another thread, as real time wants it."""

    def __init__(
        self,
        policy: Policy = NO_POLICY,
        *,
        clock: Clock,
        store: Store | None = None,
        strict: bool = False,
        drivers: Collection[str] = (),
        dock: str | None = None,
        threads: bool = False,
    ) -> None:
        self.policy = policy
        self.core = SafetyCore(policy, strict=strict, dock=dock)
        self.listener: Listener | None = None
        self._clock = clock
        self._known = tuple(drivers)
        self._drivers: tuple[tuple[str, Driver], ...] = ()
        self._lock = threading.RLock()
        self._files = Files(
            store, self._lock, self.core.ledger, threads=threads, steady=clock.monotonic, tell=self._tell
        )
        self._looked = -math.inf  # when `tick` looked at the time last
        self.rests = 0  # how often the robot was brought to rest; who waited meanwhile must not move it

    # --- for people at the robot

    @property
    def mode(self) -> Mode:
        """The mode now."""
        return self.core.mode

    @property
    def reason(self) -> str | None:
        """Why, when the mode is safe or estop."""
        return self.core.reason

    def estop(self, reason: str) -> None:
        """Stop at once, and stay so until somebody clears it at the robot. May be called in any thread."""
        self.halt()
        self.act(lambda core: core.estop(reason, now=self._clock.now()))

    def clear(self, who: str, why: str = "") -> tuple[Cause, ...]:
        """Lift what is latched; gives what it was. Raises ClearRefusedError while a cause lasts."""
        return self.act(lambda core: core.clear(who, why))

    # --- for the runtime

    def open(self) -> None:
        """Read what an earlier process left: before anything else runs."""
        now = self._clock.now()
        causes, records = self._files.load(now)
        self.act(lambda core: core.restore(causes, records, self._known, now))
        with self._lock:
            self._files.write_anew()

    def at_rest(self) -> None:
        """The drivers have been stopped for the end: the next start is not one in the middle of a motion."""
        self.act(SafetyCore.end_of_life)

    def close(self) -> None:
        """Let go of the files."""
        with self._lock:
            self._files.close(self.core.causes.latched)

    def judge(
        self, command: Command, spec: CommandSpec | str, problem: Callable[[Mapping[str, Any]], str | None]
    ) -> Verdict:
        """See `SafetyCore.judge`. A command that cannot even be judged is refused: this raises nothing."""
        now, steady = self._clock.now(), self._clock.monotonic()
        try:
            return self.act(lambda core: core.judge(command, spec, problem, now=now, steady=steady))
        except Exception as error:
            log.exception("command %s (%s) could not be judged", command.id, command.name)
            reason = f"it cannot be judged: {type(error).__name__}: {error}"
            return self.act(lambda core: core.refuse(command, reason))

    def unfinished(self) -> tuple[str, ...]:
        """The commands that were begun and have not ended."""
        return tuple(self.core.ledger.running)

    def capped(
        self, spec: CommandSpec, args: Mapping[str, Any], wanted: Mapping[str, Any], real: Real | None = None
    ) -> dict[str, Any]:
        """What a driver gets in place of what is wanted and was judged: the corrected arguments as far as limits allow,
        see `motion.capped` and `motion.doubted`."""
        motion, steady = spec.motion, self._clock.monotonic()
        if motion is None or (motion.kind != "velocity" and real is None):
            return dict(args)
        if args == wanted and real is None:  # within the limits already
            self.act(lambda core: core.given(motion, args, steady=steady))
            return dict(args)
        return self.act(lambda core: core.capped(motion, args, real, steady=steady))

    @property
    def moving(self) -> str | None:
        """The command by which the robot moves, or may."""
        ledger = self.core.ledger
        return ledger.lasting or next((one.name for one in ledger.running.values() if one.moves), None)

    def finish(self, report: Report, spec: CommandSpec | None = None) -> None:
        """A command that was begun has ended."""
        self.act(lambda core: core.finish(report, spec))

    async def on_disk(self) -> None:
        """Have the ledger on the disk when this returns."""
        await self._files.synced()

    def due(self, steady: float) -> float | None:
        """The moment at which `tick` has something to do if nothing happens before; see `SafetyCore.due`. It is later
        than the latest `tick`: what that has not settled (a disk that hangs, for one) is looked at again after a while.
        """
        moments = [one for one in (self.core.due(steady), self._files.due) if one is not None]
        return min((one if one > self._looked else self._looked + AGAIN for one in moments), default=None)

    def tick(self, own: int) -> None:
        """Time has passed; `own` is the robot's own wall clock, microseconds."""
        now, self._looked = self._clock.now(), self._clock.monotonic()
        self.act(lambda core: core.tick(now=now, own=own, steady=self._looked))

    def enter(self, name: str, driver: Driver) -> None:
        """The driver is open and may be asked to halt."""
        self._drivers = (*self._drivers, (name, driver))

    def offered(self, name: str, commands: Iterable[CommandSpec]) -> None:
        """A driver offers commands. Raises ConfigurationError when the one that is to bring the robot home is among
        them and would be refused: that must not be found out when the link is lost."""
        refused = {spec.name: why for spec in commands if (why := unkept(spec, self.policy)) is not None}
        dock = self.core.absence.dock
        if dock in refused and self.policy.watchdogs.link == "return_to_dock":
            raise ConfigurationError(
                f"link_lost is return_to_dock, and the command for that, {dock}, would be refused: {refused[dock]}"
            )
        for command, why in refused.items():
            log.info("driver %s: the command %s will be refused: %s", name, command, why)

    def leave(self, driver: Driver) -> None:
        """The driver has ended. Until then it can be halted, also when another has taken its place."""
        self._drivers = tuple(one for one in self._drivers if one[1] is not driver)

    def factors(self, channels: Iterable[Channel]) -> dict[str, float]:
        """Those of the channels that are watched, with the factor to Cel, rad, m/s or rad/s. Raises
        ConfigurationError."""
        found: dict[str, float] = {}
        for channel in channels:
            if channel.name in self.policy.watched:
                units = self._units(channel.name)
                if channel.unit is None or channel.unit not in units:
                    known = " or ".join(units)
                    raise ConfigurationError(
                        f"channel {channel.name!r} is watched by the safety node, its unit is {channel.unit!r}, "
                        f"expected {known}"
                    )
                found[channel.name] = units[channel.unit]
        return found

    def _units(self, channel: str) -> Mapping[str, float]:
        policy = self.policy
        if channel in policy.temperatures:
            return {"Cel": 1.0}
        if channel in policy.tilts:
            return ANGLES
        return UNITS["speed"] if channel in policy.speeds else UNITS["angular speed"]

    def sampled(self, channel: str, value: Any) -> None:
        """A sample of a watched channel, in Cel, rad, m/s or rad/s."""
        if isinstance(value, int | float):
            now = self._clock.now()
            self.act(lambda core: core.measured.sample(channel, value, now=now))

    def heard(self, driver: str, changes: StateChange) -> None:
        """A driver changes parts of the state."""
        limits = self.policy.limits
        now = self._clock.now()
        if (inputs := changes.get("estop_inputs")) is not None:
            self.act(lambda core: core.inputs(driver, inputs, now=now))
        if (mode := changes.get("mode")) is not None:
            reason = changes.get("mode_reason")
            self.act(lambda core: core.driver_mode(driver, mode, reason, now=now))
        if (battery := changes.get("battery")) is not None and limits.min_battery is not None:
            self.act(lambda core: core.measured.battery(battery.level, now=now))
        if (pose := changes.get("pose")) is not None and (limits.geofence.polygons or limits.keep_out.polygons):
            steady = self._clock.monotonic()
            self.act(lambda core: core.measured.place(pose, now=now, steady=steady, driver=driver))
        if (busy := changes.get("busy")) is not None:
            self.act(lambda core: core.absence.busy(driver, now=busy))

    def node(self, name: str, status: str, error: str | None) -> None:
        """A node's status has changed."""
        now, steady = self._clock.now(), self._clock.monotonic()
        self.act(lambda core: core.node(name, status, error, now=now, steady=steady))

    def linked(self, connected: bool, steady: float) -> None:
        """There is a connection to the hub since this moment of the steady clock, or none any more."""
        self.act(lambda core: core.link(connected, steady=steady))

    def blocked(self, reason: str) -> None:
        """The event loop does not run, says the watchdog's thread."""
        self.halt()  # the lock may be held by the very loop that is blocked
        now = self._clock.now()
        self.act(lambda core: core.safe("event_loop", "loop", reason, now=now, active=True))

    def back(self) -> None:
        """The event loop runs again."""
        if "loop" in self.core.causes.sources("event_loop"):
            self.act(lambda core: core.causes.end("event_loop", "loop"))

    def halt(self) -> None:
        """Every driver's `halt`, at once and in this thread."""
        for name, driver in self._drivers:
            try:
                driver.halt()
            except Exception:
                log.exception("driver %s did not halt", name)

    def act(self, work: Callable[[SafetyCore], T]) -> T:
        """Tell the core something, and carry out what it wants."""
        with self._lock:
            try:
                return work(self.core)
            finally:
                for effect in self.core.drain():
                    self._carry_out(effect)
                self._files.pay(self.core.causes.latched)
                if self.listener is not None:
                    self.listener.changed(self.core.mode, self.core.reason)

    # --- effects

    def _carry_out(self, effect: Effect) -> None:
        listener = self.listener
        if isinstance(effect, Keep):
            self._files.keep(effect.causes)
        elif isinstance(effect, Note):
            self._files.note(effect.record)
        elif isinstance(effect, Rest):
            self.rests += 1
            if effect.hard:
                self.halt()
            if listener is not None:
                listener.rest(effect.reason)
        elif isinstance(effect, HandOver):
            self.rests += 1
            if listener is not None:
                listener.hand_over(effect.reason)
        elif listener is not None and isinstance(effect, Return):
            listener.go_home(effect.command)
        elif listener is not None and isinstance(effect, Tell):
            listener.tell(effect.event)
        elif listener is not None and isinstance(effect, Answer):
            listener.answer(effect.report)

    def _tell(self, event: Event) -> None:
        if self.listener is not None:
            self.listener.tell(event)
