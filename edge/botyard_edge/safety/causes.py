"""The causes why the robot must not move, the mode that follows from them, and the latch."""

from collections.abc import Callable, Iterable, Iterator

from botyard_edge.safety.effects import Cause, ClearRefusedError, Effect, Keep, Level, Rest, Tell
from botyard_schemas.messages import Event, Mode, Severity

# Inputs are whatever drivers name; one that misbehaves must not make the list grow for ever. All other causes come from
# the settings or from the safety node itself, so they are few, and each has a place of its own in any case.
MAX_CAUSES = 256
INPUT, MANY = "input", "many"


class Causes:
    """Mode and latch. Everything that is to be done goes to `do`."""

    def __init__(self, do: Callable[[Effect], None]) -> None:
        self._do = do
        self._causes: dict[tuple[str, str], Cause] = {}
        self._untold: set[tuple[str, str]] = set()

    def __iter__(self) -> Iterator[Cause]:
        return iter(tuple(self._causes.values()))

    @property
    def level(self) -> Level | None:
        """The graver of what there is."""
        levels = {cause.level for cause in self._causes.values()}
        return "estop" if "estop" in levels else "safe" if levels else None

    @property
    def reason(self) -> str | None:
        """Why the mode is what it is, in words: all causes of its level."""
        level = self.level
        return "; ".join(cause.reason for cause in self._causes.values() if cause.level == level)[:1024] or None

    @property
    def latched(self) -> tuple[Cause, ...]:
        """What must survive a restart."""
        return tuple(cause for cause in self._causes.values() if cause.latched)

    def restore(self, causes: Iterable[Cause]) -> None:
        """Take over what was latched before, and tell of it."""
        for cause in causes:
            self._causes[cause.kind, cause.source] = cause
        if (level := self.level) is not None:
            self._tell("safety.restored", "warning", f"the robot starts in {level} mode: {self.reason}")

    def begin(
        self,
        level: Level,
        kind: str,
        source: str,
        reason: str,
        *,
        now: int,
        latched: bool,
        active: bool = True,
        hard: bool = False,
        quiet: bool = False,
    ) -> None:
        """There is a cause; one that is there already is only renewed. `hard`: the drivers are halted first. `quiet`:
        nothing out of the ordinary has happened, and no event tells of it."""
        key = (kind, source)
        known = self._causes.get(key)
        if known is None and kind == INPUT and len(self._causes) >= MAX_CAUSES:
            # One for each level, so that none hides a graver one; and not active, since nobody could tell when it ends.
            key, reason = (MANY, level), f"there are more than {MAX_CAUSES} causes, the latest: {reason}"
            latched, active = True, False
            known = self._causes.get(key)
        cause = Cause(level, *key, reason, now if known is None else known.since, latched, active)
        if known is not None and (known.level, known.latched, known.active) == (level, latched, active):
            if not active:  # somebody asks once more
                self._do(Rest(reason, hard=level == "estop"))
            if key in self._untold and not quiet:
                self._causes[key] = cause
                self._tell_of(cause)
            elif key[0] == MANY:
                self._causes[key] = cause  # it names the latest
            return
        self._causes[key] = cause
        if known is None or active:
            self._do(Rest(reason, hard=hard or level == "estop"))
        if latched or (known is not None and known.latched):
            self._do(Keep(self.latched))
        if quiet and known is None:
            self._untold.add(key)
        elif known is None or (active and not known.active):
            self._tell_of(cause)

    def end(self, kind: str, source: str) -> None:
        """The cause has gone; a latched one stays, and can now be cleared."""
        cause = self._causes.get((kind, source))
        if cause is None or not cause.active:
            return
        del self._causes[kind, source]
        if cause.latched:
            self._causes[kind, source] = Cause(
                cause.level, kind, source, cause.reason, cause.since, latched=True, active=False
            )
            self._do(Keep(self.latched))
        if (kind, source) in self._untold:
            self._untold.discard((kind, source))
        else:
            self._tell("safety.cause_gone", "info", f"has gone: {cause.reason}", cause)

    def clear(self, who: str, why: str = "") -> tuple[Cause, ...]:
        """Remove what is latched; `why` is for the record. Raises ClearRefusedError while a cause of it lasts."""
        lasting = [cause.reason for cause in self.latched if cause.active]
        if lasting:
            raise ClearRefusedError(f"cannot be cleared while its cause lasts: {'; '.join(lasting)}")
        cleared = self.latched
        for cause in cleared:
            del self._causes[cause.kind, cause.source]
        if cleared:
            self._do(Keep(()))
            reasons = "; ".join(cause.reason for cause in cleared)
            told = f"{who} has cleared at the robot{f' ({why})' if why else ''}: {reasons}"
            self._tell("safety.cleared", "info", told)
        return cleared

    def lasts(self, kind: str, source: str) -> bool:
        """Whether there is this cause, and it has not gone."""
        cause = self._causes.get((kind, source))
        return cause is not None and cause.active

    def sources(self, kind: str) -> frozenset[str]:
        """Where causes of this kind come from."""
        return frozenset(source for known, source in self._causes if known == kind)

    def _tell_of(self, cause: Cause) -> None:
        self._untold.discard((cause.kind, cause.source))
        severity: Severity = "critical" if cause.level == "estop" else "warning"
        self._tell(f"safety.{cause.level}", severity, cause.reason, cause)

    def _tell(self, name: str, severity: Severity, message: str, cause: Cause | None = None) -> None:
        mode: Mode | str = self.level or "none"
        data: dict[str, object] = {"level": mode}
        if cause is not None:
            data |= {"kind": cause.kind, "source": cause.source, "latched": cause.latched}
        self._do(Tell(Event(name, severity, message[:4096], data=data)))
