"""The safety node's core: modes, latch and the judgement of commands. Pure: it is told the time and what happens, and
leaves what is to be done in `effects`. It knows no clock, no file, no task and no thread.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from botyard_edge.driver import Command, CommandSpec, Motion
from botyard_edge.safety.absence import Absence
from botyard_edge.safety.arguments import LimitError
from botyard_edge.safety.causes import INPUT, Causes
from botyard_edge.safety.effects import (
    Answer,
    Cause,
    ClearRefusedError,
    Effect,
    HandOver,
    Keep,
    Note,
    Record,
    Rest,
    Return,
    Tell,
    Verdict,
)
from botyard_edge.safety.ledger import Begun, Ledger
from botyard_edge.safety.measured import Measured
from botyard_edge.safety.motion import Commanded, Real, at_rest, capped, doubted, limited, values
from botyard_edge.safety.policy import NO_POLICY, Policy
from botyard_schemas.messages import Event, Mode, Report

MAX_RUNNING = 32
REASON_LENGTH = 4096
# Commands of the hub to the safety node itself.
STOP, SAFE, OWN = "safety.stop", "safety.safe", "safety."
HARMLESS = ("none", "stop")
# What the ids of commands begin with that the robot gives itself.
OWN_IDS = "edge."


class SafetyCore:
    """One robot's. `now` is hub time in microseconds, `steady` the steady clock in seconds. `strict`: there is a
    section `safety`, so commands that do not declare their motion count as motion after a restart, too. `dock` is the
    command that brings the robot home. What is measured goes to `measured`."""

    def __init__(self, policy: Policy = NO_POLICY, *, strict: bool = False, dock: str | None = None) -> None:
        self.policy = policy
        self.effects: list[Effect] = []
        self.causes = Causes(self._do)
        self.ledger = Ledger()
        self.measured = Measured(policy, self.causes)
        self.absence = Absence(policy.watchdogs, self.ledger, dock)
        self._strict = strict
        self._modes: dict[str, Mode] = {}
        self._inputs: dict[str, dict[str, bool]] = {}
        self._last = Commanded()  # as it was wanted
        self._given = Commanded()  # as a driver got it, corrected
        self._done = Commanded()  # as the robot did it, should what it was corrected by be wrong
        self._stale_at: float | None = None
        self._clocks: tuple[int, float] | None = None

    # --- what others may know

    @property
    def mode(self) -> Mode:
        """The mode that the state tells."""
        return self.causes.level or ("manual" if "manual" in self._modes.values() else "auto")

    @property
    def reason(self) -> str | None:
        """Why, when the mode is safe or estop."""
        return self.causes.reason

    # --- the start

    def restore(self, causes: Iterable[Cause], records: Iterable[Record], drivers: Collection[str], now: int) -> None:
        """Take over what an earlier process left. An input that was pressed counts as pressed until its driver says
        otherwise, unless there is no such driver any more."""
        self.causes.restore(
            Cause(
                one.level,
                one.kind,
                one.source,
                one.reason,
                one.since,
                latched=True,
                active=one.active and one.kind == INPUT and one.source.partition("/")[0] in drivers,
            )
            for one in causes
        )
        self.ledger.replay(records)
        unfinished = dict(self.ledger.running)
        moving = [one.name for one in unfinished.values() if one.moves]
        if self.ledger.lasting is not None:
            moving.append(self.ledger.lasting)
        for command in unfinished:
            answer = not command.startswith(OWN_IDS)  # the hub knows nothing of the robot's own
            self._end(Report(command, "failed", reason="the edge ended while it executed this"), answer=answer)
        if moving:
            reason = f"the edge ended without warning while the robot moved ({', '.join(sorted(set(moving)))})"
            self.causes.begin("safe", "restart", "edge", reason, now=now, latched=True, active=False)
        for node in sorted(self.policy.watchdogs.required):
            reason = f"{node} does not work yet"
            self.causes.begin("safe", "node", node, reason, now=now, latched=False, quiet=True)
        self._at_rest()

    # --- commands

    def judge(
        self,
        command: Command,
        spec: CommandSpec | str,
        problem: Callable[[Mapping[str, Any]], str | None],
        *,
        now: int,
        steady: float,
    ) -> Verdict:
        """What becomes of a command that has arrived. `spec` is a sentence when there is no such command; `problem`
        says what is wrong with arguments by their schema."""
        if command.id in self.ledger.running:
            return Verdict()
        if (known := self.ledger.end_of(command.id)) is not None:
            return Verdict(report=known)
        if now >= command.expires:
            late = (now - command.expires) / 1e6
            return self.refuse(command, f"it came {late:.1f} s after its deadline", expired=True)
        if command.name.startswith(OWN):
            return self._obey(command, now)
        if isinstance(spec, str):
            return self.refuse(command, spec)
        wrong = self._wrong(command, spec, problem)
        args: dict[str, Any] = {}
        if wrong is None:
            try:
                args = self._limited(spec, command.args, steady)
                if args != command.args and (wrong := problem(args)):
                    wrong = f"{wrong} (after it was limited)"
                if wrong is None:
                    return self._begin(command, spec.motion, args, steady)
            except LimitError as error:
                wrong = str(error)
        return self.refuse(command, wrong, stream=spec.motion is not None and spec.motion.kind == "velocity")

    def _wrong(
        self, command: Command, spec: CommandSpec, problem: Callable[[Mapping[str, Any]], str | None]
    ) -> str | None:
        """Why the command cannot be executed now, whatever the limits on its arguments say; None: it can."""
        if len(self.ledger.running) >= MAX_RUNNING:
            return f"{MAX_RUNNING} commands are being executed already"
        if wrong := problem(command.args):
            return wrong
        if spec.motion is None or spec.motion.kind not in HARMLESS:
            return self.measured.blind() if self.mode == "auto" else self._not_in_this_mode()
        return None

    def finish(self, report: Report, spec: CommandSpec | None = None) -> None:
        """A command that was begun has ended."""
        if report.command in self.ledger.running:
            self._end(report)
            motion = spec.motion if spec else None
            if motion is not None and motion.kind == "stop" and report.status == "succeeded":
                self._at_rest()

    def _limited(self, spec: CommandSpec, args: Mapping[str, Any], steady: float) -> dict[str, Any]:
        frame = spec.motion.frame if spec.motion is not None else None
        return limited(
            spec,
            args,
            self.policy,
            pose=self.measured.pose_in(frame),
            last=self._last,
            steady=steady,
            frames=self.measured.frames,
        )

    def capped(self, motion: Motion, args: Mapping[str, Any], real: Real | None, *, steady: float) -> dict[str, Any]:
        """See `motion.capped` and `motion.doubted`; what comes out is what the driver gets."""
        limits, timeout = self.policy.limits, self.policy.watchdogs.command_timeout
        kept = dict(args)
        if motion.kind == "velocity":
            kept = capped(motion, args, limits, last=self._given, steady=steady, timeout=timeout)
        if real is not None:
            kept = doubted(motion, kept, real, limits, last=self._done, steady=steady, timeout=timeout)
        if motion.kind == "velocity":
            self.given(motion, kept, real, steady=steady)
        return kept

    def given(self, motion: Motion, args: Mapping[str, Any], real: Real | None = None, *, steady: float) -> None:
        """A driver gets a velocity command with these arguments."""
        self._given = self._done = Commanded()
        if not at_rest(motion, args):
            self._given = self._done = Commanded.of(motion, args, steady)
            if real is not None:
                self._done = Commanded(real(motion, values(motion, args), 0.0)[0], steady)

    def _begin(self, command: Command, motion: Motion | None, args: dict[str, Any], steady: float) -> Verdict:
        moves = self._strict if motion is None else motion.kind not in HARMLESS
        lasting = motion is not None and moves and (motion.lasting or motion.kind == "velocity")
        was_moving = self.ledger.moving
        if motion is not None and motion.kind == "velocity":
            self._last = Commanded.of(motion, args, steady)
            if at_rest(motion, args):
                self._at_rest()
                moves = lasting = False
            elif (timeout := self.policy.watchdogs.command_timeout) is not None:
                self._stale_at = steady + timeout
        stream = motion is not None and motion.kind == "velocity"
        self._do(Note(self.ledger.begin(command.id, Begun(command.name, moves, lasting, stream))))
        # A stream of velocities would wear the disk out; that the robot moves is written at its first.
        return Verdict(args, sync=not (stream and (was_moving or not moves)))

    def _obey(self, command: Command, now: int) -> Verdict:
        if command.name == STOP:
            self._stop(f"the hub asked for a stop (command {command.id})", "safety.stopped")
        elif command.name == SAFE:
            reason = str(command.args.get("reason") or "no reason given")[:256]
            self.causes.begin(
                "safe", "hub", "hub", f"the hub asked for safe mode: {reason}", now=now, latched=True, active=False
            )
        else:
            sentence = f"{command.name!r} is nothing the hub may ask for: stops are lifted at the robot alone"
            return self.refuse(command, sentence + f"; known are {STOP} and {SAFE}")
        self._do(Note(self.ledger.begin(command.id, Begun(command.name, moves=False, lasting=False))))
        return Verdict({})

    def _not_in_this_mode(self) -> str:
        if self.mode == "manual":
            return "the robot is in manual mode: a person drives it"
        return f"the robot is in {self.mode} mode: {self.reason}"

    def refuse(self, command: Command, reason: str, *, expired: bool = False, stream: bool = False) -> Verdict:
        """The command is not executed, for this reason."""
        cut = reason if len(reason) <= REASON_LENGTH else reason[: REASON_LENGTH - 1] + "…"
        report = Report(command.id, "expired" if expired else "rejected", reason=cut)
        self._do(Note(self.ledger.end(report, stream=stream, refused=True)))
        return Verdict(report=report)

    def _end(self, report: Report, *, answer: bool = False) -> None:
        if answer:
            self._do(Answer(report))
        self._do(Note(self.ledger.end(report)))

    # --- what happens on the robot

    def estop(self, reason: str, *, now: int) -> None:
        """Somebody at the robot wants an emergency stop."""
        self.causes.begin("estop", "local", "local", reason, now=now, latched=True, active=False)

    def safe(self, kind: str, source: str, reason: str, *, now: int, active: bool) -> None:
        """Latch safe mode."""
        self.causes.begin("safe", kind, source, reason, now=now, latched=True, active=active)

    def clear(self, who: str, why: str = "") -> tuple[Cause, ...]:
        """Somebody at the robot lifts what is latched. Raises ClearRefusedError."""
        pressed = (f"{driver}/{name}" for driver, inputs in self._inputs.items() for name in inputs if inputs[name])
        # Where there are too many causes, an input that is pressed may have none of its own.
        if hidden := [one for one in pressed if not self.causes.lasts(INPUT, one)]:
            raise ClearRefusedError(f"cannot be cleared while its cause lasts: {hidden[0]} is pressed")
        return self.causes.clear(who, why)

    def inputs(self, driver: str, pressed: Mapping[str, bool], *, now: int) -> None:
        """A driver says how its emergency-stop inputs are."""
        self.causes.end("input_lost", driver)
        if driver not in self._inputs:
            # One that was pressed before the restart, and that the driver does not have any more.
            for source in self.causes.sources(INPUT):
                if source.startswith(f"{driver}/") and source.removeprefix(f"{driver}/") not in pressed:
                    self.causes.end(INPUT, source)
        known = self._inputs.setdefault(driver, {})
        for name, active in pressed.items():
            known[name] = active
            source = f"{driver}/{name}"
            if active:
                self.causes.begin("estop", INPUT, source, f"{source} is pressed", now=now, latched=True)
            else:
                self.causes.end(INPUT, source)

    def driver_mode(self, driver: str, mode: Mode, reason: str | None, *, now: int) -> None:
        """A driver says which mode its robot is in; one that is stopped there is stopped here. When a person takes
        over, what moves the robot ends; the drivers are not told to stop, which would take it from the person again."""
        was, self._modes[driver] = self._modes.get(driver), "manual" if mode == "manual" else "auto"
        if mode == "manual" and was != "manual":
            self._do(HandOver(f"{driver} says that a person drives the robot now (manual mode)"))
        if mode == "estop":
            self.causes.begin("estop", INPUT, driver, f"{driver}: {reason or 'estop'}", now=now, latched=True)
        else:
            self.causes.end(INPUT, driver)
        if mode == "safe":
            self.causes.begin("safe", "driver", driver, f"{driver}: {reason or 'safe'}", now=now, latched=False)
        else:
            self.causes.end("driver", driver)

    def node(self, name: str, status: str, error: str | None, *, now: int, steady: float) -> None:
        """A node's status has changed."""
        driver = name.removeprefix("driver.")
        works = status == "running"
        if works:
            self.causes.end("node", name)
            self.absence.begins(driver, steady)
        else:
            self.absence.busy(driver, now=False)
        if not works and name in self.policy.watchdogs.required:
            reason = f"{name} does not work" + (f": {error}" if error else f", it is {status}")
            # That it starts is no news; had it worked before, something else has been told of it.
            self.causes.begin("safe", "node", name, reason, now=now, latched=False, quiet=status == "starting")
        if not works and self._inputs.get(driver):
            reason = f"{name} does not work, so its emergency stop cannot be heard"
            self.causes.begin("safe", "input_lost", driver, reason, now=now, latched=False)

    # --- time

    def link(self, connected: bool, *, steady: float) -> None:
        """There is a connection to the hub, or no more."""
        if connected:
            self._remember(self.absence.connected())
            self.causes.end("link", "link")
        else:
            self.absence.lost(steady)

    def returned(self, report: Report) -> None:
        """The command that brings the robot home has ended, or was refused."""
        trouble = None if report.status == "succeeded" else f"{report.status}: {report.reason or 'no reason given'}"
        self._remember(self.absence.returned(trouble))

    def due(self, steady: float) -> float | None:
        """The moment of the steady clock at which `tick` has something to do; None: only when something happens."""
        moments = [self._stale_at] if self._stale_at is not None else []
        if (link := self.absence.due()) is not None and "link" not in self.causes.sources("link"):
            moments.append(link)
        if self.policy.watchdogs.clock_jump is not None:
            moments.append((self._clocks[1] if self._clocks else steady) + 1.0)
        return min(moments, default=None)

    def tick(self, *, now: int, own: int, steady: float) -> None:
        """Time has passed; `own` is the robot's own wall clock, microseconds."""
        if self._stale_at is not None and steady >= self._stale_at:
            self._stop("no velocity command came in time", "safety.command_timeout")
        if (due := self.absence.due()) is not None and steady >= due and "link" not in self.causes.sources("link"):
            self._without_hub(now)
        most = self.policy.watchdogs.clock_jump
        if most is not None:
            if self._clocks is not None:
                jump = (own - self._clocks[0]) / 1e6 - (steady - self._clocks[1])
                if abs(jump) > most:
                    self._stop(f"the robot's clock jumped by {jump:+.1f} s", "safety.clock_jumped")
            self._clocks = (own, steady)

    def end_of_life(self) -> None:
        """The drivers have been stopped for the end: what follows is no restart in the middle of a motion."""
        self._at_rest()

    def _without_hub(self, now: int) -> None:
        if self.mode == "auto" and self.absence.step() == "dock" and self.absence.dock is not None:
            self._stop(f"{self.absence.reason}: the robot returns to its dock", "safety.returning")
            self._remember(self.absence.sets_out())
            self._do(Return(self.absence.dock))
        else:
            self.causes.begin("safe", "link", "link", self.absence.reason, now=now, latched=False)

    def _remember(self, record: Record | None) -> None:
        if record is not None:
            self._do(Note(record))

    def _stop(self, reason: str, event: str) -> None:
        self._do(Rest(reason))
        self._do(Tell(Event(event, "warning", reason)))

    def _do(self, effect: Effect) -> None:
        self.effects.append(effect)
        if isinstance(effect, Rest | HandOver):
            self._at_rest()

    def _at_rest(self) -> None:
        self._stale_at = None
        self._last = self._given = self._done = Commanded()
        if (record := self.ledger.rest()) is not None:
            self._do(Note(record))

    def drain(self) -> list[Effect]:
        """What is to be done now; rest first, then what must be remembered."""
        made, self.effects = self.effects, []
        order: dict[type[Effect], int] = {Rest: 0, HandOver: 0, Keep: 1, Note: 2, Return: 3}
        return sorted(made, key=lambda effect: order.get(type(effect), 4))
