"""The calibration of a running robot: what it goes by, its history, and all who want to know or to change it.

    node.hash, node.profiles, node.history(name)            what is applied, and what was
    await node.set(draft, who=…)                            a new version, applied at once
    await node.rollback(name, version, who=…)               an earlier one again; version 0 is none
    await node.remove(name, who=…)                          switched off

The three raise CalibrationError, with one sentence, and then everything is as it was.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Literal

from botyard_edge.calibration.correct import Corrector
from botyard_edge.calibration.doubt import Doubt
from botyard_edge.calibration.draft import CalibrationError
from botyard_edge.calibration.drifting import Drifting
from botyard_edge.calibration.fitting import Fitting
from botyard_edge.calibration.history import History, differences
from botyard_edge.calibration.motors import Motors
from botyard_edge.calibration.packing import packed, plain
from botyard_edge.calibration.sound import channels_of
from botyard_edge.calibration.store import Store
from botyard_edge.calibration.surroundings import Origin, Surroundings
from botyard_edge.driver import Capabilities, Channel, CommandSpec, Driver
from botyard_schemas.calibration import Draft, Motor, Profile, Wheels
from botyard_schemas.clock import Clock
from botyard_schemas.messages import CalibrationState, CalibrationStatus, Event, ProfileState

log = logging.getLogger(__name__)


class CalibrationNode:
    """`store` None: nothing is remembered across a restart. `drivers` are the names in the settings. `watched` are
    channels that the safety node judges by, and `fenced` says that it judges positions; `limited`, that it limits how
    velocities are commanded, and `fastest` are its limits of speed and angular speed, m/s and rad/s. `from_hub`:
    whether the hub may change anything. `threads`: the disk is waited for in another thread."""

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        clock: Clock,
        store: Store | None = None,
        keep: int = 32,
        from_hub: bool = True,
        drivers: Collection[str] = (),
        watched: Collection[str] = (),
        fenced: bool = False,
        limited: bool = False,
        fastest: tuple[float | None, float | None] = (None, None),
        threads: bool = False,
    ) -> None:
        self.corrector: Corrector | None = None  # None: no sample is touched
        self._surroundings = surroundings
        self._clock = clock
        self._store = store
        self._from_hub = from_hub
        self._watched = frozenset(watched)
        self._fenced = fenced
        self._limited = limited
        self._threads = threads
        self._history = History(keep=keep)
        self._hash = self._history.hash
        self._fitting = Fitting(drivers, fastest)
        self._drifting = Drifting(clock)
        self._motors = Motors((), self._drifting)
        self._expired: set[str] = set()
        self._unused: dict[str, str] = {}
        self._reasons: list[str] = []
        self._trouble: str | None = None
        self._lock = asyncio.Lock()
        self._changing: asyncio.Task[Profile] | None = None  # the event loop itself holds no task

    # --- for whoever wants to know

    @property
    def hash(self) -> str:
        """Names what is applied; see `applied_hash`."""
        return self._hash

    @property
    def profiles(self) -> list[Profile]:
        """The version of each profile that the robot goes by, by name; one without a correction is switched off."""
        return self._history.latest

    def history(self, name: str) -> tuple[Profile, ...]:
        """The versions of a profile that are kept, oldest first. Raises CalibrationError."""
        return self._history.of(name)

    def state(self) -> CalibrationState | None:
        """For the robot's state; None when it was never calibrated. Notices what has expired meanwhile."""
        if not self._history.versions:
            return None
        self._note_expired()
        return CalibrationState(self._hash, {one.name: self._standing(one) for one in self._history.latest})

    def summary(self) -> list[dict[str, str]]:
        """For people: a `name` and a `text` for each profile, and the hash of what is applied."""
        state = self.state()
        if state is None:
            return []
        rows = [
            {"name": name, "text": f"version {one.version}, {one.status}" + (f": {one.problem}" if one.problem else "")}
            for name, one in state.profiles.items()
        ]
        return [*rows, {"name": "Hash", "text": state.hash}]

    # --- for whoever wants to change it

    async def set(self, draft: Draft, *, who: str, origin: Origin = "local", cause: str | None = None) -> Profile:
        """Apply a draft as a new version. What is applied already makes none. Raises CalibrationError."""

        async def change() -> Profile:
            known = self._history.versions.get(draft.name)
            if known and not differences(known[-1], draft):
                return known[-1]
            return await self._change(draft, who, origin, cause, None)

        return await self._alone(change())

    async def rollback(
        self, name: str, version: int, *, who: str, origin: Origin = "local", cause: str | None = None
    ) -> Profile:
        """Apply an earlier version again, as a new one; version 0 is that of before the first. Raises
        CalibrationError."""

        async def change() -> Profile:
            draft = self._history.restored(name, version)
            return await self._change(draft, who, origin, cause, version)

        return await self._alone(change())

    async def remove(self, name: str, *, who: str, origin: Origin = "local", cause: str | None = None) -> Profile:
        """Switch a profile off. Raises CalibrationError."""
        return await self.rollback(name, 0, who=who, origin=origin, cause=cause)

    def tell_history(self, name: str | None = None, *, cause: str | None = None) -> int:
        """Send every version of a profile, or of all, as events; gives how many. Raises CalibrationError."""
        versions = [one for key in ([name] if name else sorted(self._history.versions)) for one in self.history(key)]
        for some in packed(versions):
            said = f"{len(some)} versions of calibration profiles"
            self._surroundings.tell(Event("calibration.versions", "debug", said, data={"profiles": some}, cause=cause))
        return len(versions)

    # --- for the runtime

    def open(self) -> bool:
        """Read what was kept and apply it: before any driver runs. Whether no other process has it open."""
        if self._store is None:
            return True
        alone = True
        try:
            if not (alone := self._store.lock()):
                log.error("%s is in use by another process", self._store.path)
        except OSError as error:
            log.error("%s cannot be locked: %s", self._store.path, error)
        self._history, self._trouble = self._store.load(self._history.keep)
        self._apply()
        if self._history.versions or self._trouble:
            severity: Literal["error", "info"] = "error" if self._trouble else "info"
            said = self._trouble or f"{len(self._history.versions)} calibration profiles are applied"
            for some in packed(self._history.latest) or [[]]:
                data = {"hash": self._hash, "profiles": some}
                self._surroundings.tell(Event("calibration.loaded", severity, said[:4096], data=data))
        return alone

    async def settled(self) -> None:
        """Wait for a change that is under way although whoever asked for it gave up."""
        async with self._lock:
            pass

    def close(self) -> None:
        """Let go of the file."""
        if self._store is not None:
            self._store.close()

    def opened(self, name: str, driver: Driver, capabilities: Capabilities, declare: Callable[[Channel], None]) -> None:
        """A driver begins; `declare` takes a further channel that is published in its name."""
        self._fitting.opened(name, driver, capabilities, declare)
        self._apply()

    def closed(self, name: str, driver: Driver) -> None:
        """A driver has ended."""
        self._fitting.closed(name, driver)

    def corrected(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Samples of one instant as they are. Only while there is a `corrector`."""
        if self.corrector is None:
            return values
        values = self.corrector.corrected(values)
        if self._drifting:
            self._see(values)
        return values

    def corrected_alone(self, channel: str, value: Any) -> Any:
        """One sample as far as it can be corrected without others."""
        return value if self.corrector is None else self.corrector.alone(channel, value)

    def corrected_columns(self, columns: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
        """Samples of many instants as they are. The last ones stand for all when drift is judged."""
        if self.corrector is None:
            return columns
        columns = self.corrector.corrected_columns(columns)
        if self._drifting:
            self._see({name: column[-1] for name, column in columns.items() if column})
        return columns

    def commanded(self, spec: CommandSpec, args: Mapping[str, Any]) -> dict[str, Any]:
        """What the driver gets in place of a velocity command's arguments."""
        return self._motors.commanded(spec, args)

    def doubt(self, driver: Driver) -> Doubt | None:
        """What the driver's measured wheels may do, should they be wrong."""
        return self._fitting.doubt(driver)

    # --- how

    async def _alone(self, change: Coroutine[Any, Any, Profile]) -> Profile:
        """Make one change after the other, each to its end also when whoever asked for it gives up meanwhile: else what
        is on the disk and what is applied would differ. One that has not begun by then is none."""
        try:
            await self._lock.acquire()
        except asyncio.CancelledError:
            change.close()
            raise
        task = self._changing = asyncio.create_task(change, name="edge.calibration.change")
        task.add_done_callback(lambda _: self._lock.release())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_tell_unheard)
            raise

    async def _change(self, draft: Draft, who: str, origin: Origin, cause: str | None, restores: int | None) -> Profile:
        before = self._history.versions.get(draft.name, ())
        concerned = [draft, *before[-1:]]
        self._guard(concerned, origin)
        self._fitting.check(draft)
        history, profile = self._history.with_draft(draft, when=self._clock.now(), who=who, restores=restores)
        await self._save(history)
        try:
            self._guard(concerned, origin)  # the robot may have set out while the disk was waited for
        except CalibrationError as problem:
            try:
                await self._save(self._history)
            except CalibrationError as error:
                raise CalibrationError(f"{problem}; it would count from the next start, since {error}") from error
            raise
        self._history = history
        self._trouble = None
        self._apply()
        what = f"as it was in version {restores}" if restores else "off" if draft.correction is None else "applied"
        said = f"{profile.name} is {what} now (version {profile.version}, by {profile.who})"
        log.info("calibration: %s", said)
        data = {"profile": plain(profile), "before": before[-1].version if before else None, "hash": self._hash}
        self._surroundings.tell(Event("calibration.changed", "info", said[:4096], data=data, cause=cause))
        return profile

    def _guard(self, drafts: Iterable[Draft], origin: Origin) -> None:
        """Raises CalibrationError for what must not be changed from there, or not now."""
        if origin == "hub" and not self._from_hub:
            raise CalibrationError("this robot is calibrated at the robot alone (calibration.from_hub)")
        for one in drafts:
            blind = self._watched.intersection(channels_of(one.correction))
            if origin == "hub" and blind:
                raise CalibrationError(
                    f"correction: the safety node judges by {', '.join(sorted(blind))}, so it is calibrated at the "
                    "robot alone"
                )
            if origin == "hub" and self._fenced and isinstance(one.correction, Wheels):
                raise CalibrationError(
                    "correction: the safety node keeps the robot in its area by positions that its wheels may tell, "
                    "so they are calibrated at the robot alone"
                )
            if origin == "hub" and self._limited and isinstance(one.correction, Wheels):
                raise CalibrationError(
                    "correction: the safety node limits speeds that the driver reckons by its wheels, so they are "
                    "calibrated at the robot alone"
                )
            m = one.correction
            if origin == "hub" and self._limited and isinstance(m, Motor) and not self._fitting.limited(m):
                raise CalibrationError(
                    f"correction: the safety node cannot keep its limits on {m.command}.{m.argument}, so it is "
                    "calibrated at the robot alone"
                )
            if isinstance(one.correction, Motor | Wheels) and (moving := self._surroundings.moving()):
                raise CalibrationError(f"correction: the robot moves ({moving}); motors and wheels are set at rest")

    async def _save(self, history: History) -> None:
        if self._store is None:
            return
        try:
            if self._threads:
                await asyncio.to_thread(self._store.save, history)
            else:
                self._store.save(history)
        except OSError as error:
            raise CalibrationError(f"{self._store.path} cannot be written: {error}") from error

    def _apply(self) -> None:
        """Make the history's latest versions work, as far as their drivers are known."""
        applied = [one for one in self._history.latest if one.correction is not None]
        self._hash = self._history.hash
        problems = {one.name: self._fitting.problem(one) for one in applied if not self._fitting.waits(one)}
        self._unused = {name: problem for name, problem in problems.items() if problem}
        usable = [one for one in applied if one.name not in self._unused]
        corrector = Corrector(usable, self._fitting.channels)
        self._drifting.follow(usable)
        self.corrector = corrector if corrector or self._drifting else None
        self._motors = Motors(usable, self._drifting)
        self._fitting.apply(corrector.raw, {w.driver: w for one in usable if isinstance(w := one.correction, Wheels)})
        self._expired &= {one.name for one in applied}
        self._tell_health(always=True)

    def _standing(self, profile: Profile) -> ProfileState:
        problem: str | None = None
        status: CalibrationStatus = "applied"
        if profile.correction is None:
            status = "off"
        elif problem := self._fitting.problem(profile):
            status = "unused"
        elif apart := sorted(
            self.corrector.apart.intersection(channels_of(profile.correction)) if self.corrector else ()
        ):
            status, problem = "unused", f"{', '.join(apart)} came without the other channels, and are held back"
        elif problem := self._drifting.problem(profile.name):
            status = "drifted"
        elif profile.valid_until is not None and self._clock.now() >= profile.valid_until:
            status = "expired"
        return ProfileState(profile.version, status, problem and problem[:1024])

    def _see(self, values: Mapping[str, Any]) -> None:
        for name, drifted, said in self._drifting.see(values):
            event = "calibration.drifted" if drifted else "calibration.settled"
            log.log(logging.WARNING if drifted else logging.INFO, "calibration %s: %s", name, said)
            data = {"profile": name, "hash": self._hash}
            self._surroundings.tell(Event(event, "warning" if drifted else "info", f"{name}: {said}"[:4096], data=data))
            self._tell_health()

    def _note_expired(self) -> None:
        now = self._clock.now()
        expired = {
            one.name
            for one in self._history.latest
            if one.correction is not None and one.valid_until is not None and now >= one.valid_until
        }
        if expired == self._expired:
            return
        news, self._expired = sorted(expired - self._expired), expired
        for name in news:
            said = f"{name} was to be measured again by now; it goes on being applied"
            self._surroundings.tell(Event("calibration.expired", "warning", said, data={"profile": name}))
        self._tell_health()

    def _tell_health(self, *, always: bool = False) -> None:
        reasons = [f"calibration: {self._trouble}"] if self._trouble else []
        reasons += [f"calibration of {name} corrects nothing: {said}" for name, said in self._unused.items()]
        reasons += [f"calibration of {name} has drifted: {said}" for name, said in self._drifting.problems.items()]
        reasons += [f"calibration of {name} is past its date" for name in sorted(self._expired)]
        if always or reasons != self._reasons:
            self._reasons = reasons
            self._surroundings.health(reasons)


def _tell_unheard(task: "asyncio.Task[Profile]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("calibration: a change that nobody waited for any more failed: %s", error)
