"""Commands: judged on arrival by the safety node, executed once, and reported on from `accepted` to their end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jsonschema_rs

from botyard_edge.calibration import CalibrationNode
from botyard_edge.driver import CommandFailedError, CommandRejectedError, CommandSpec, Driver
from botyard_edge.pulse import UNWATCHED, Silent, ended_within
from botyard_edge.safety import OWN_IDS, SafetyNode
from botyard_edge.sendable import fault
from botyard_schemas.clock import Clock
from botyard_schemas.messages import Command, Report, ReportStatus
from botyard_schemas.validation import first_error

log = logging.getLogger(__name__)

MAX_WAITING = 64
REASON_LENGTH = 4096
# Seconds within which a driver has to give a command up that it was told to end. Past them it is reported all the same.
END_WITHIN = 5.0
# Names of what the robot itself understands are not for drivers.
SAFETY = "safety."
OWN = (SAFETY, "calibration.")


@dataclass(slots=True, eq=False)
class _Execution:
    """A command that a driver executes. `ending` is the report on it once it was told to end; `over`: it was, or it has
    ended by itself."""

    driver: Driver
    spec: CommandSpec
    ending: Report | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[Report] | None = None


class CommandDesk:
    """Takes commands in and leads them to the driver that offers them. `report` keeps a report in the outbox; `stop`
    brings the whole robot to rest, and gives whether all of it says that it is."""

    def __init__(
        self,
        report: Callable[[Report], Awaitable[object]],
        *,
        clock: Clock,
        stop: Callable[[], Awaitable[bool]] | None = None,
        safety: SafetyNode | None = None,
        calibration: CalibrationNode | None = None,
        pulse: Silent = UNWATCHED,
    ) -> None:
        self._report = report
        self._stop = stop
        self._safety = safety or SafetyNode(clock=clock)
        self._calibration = calibration
        self._offers: dict[str, tuple[Driver, CommandSpec, jsonschema_rs.Validator]] = {}
        self._clock = clock
        self._pulse = pulse
        self._waiting: asyncio.Queue[Command] = asyncio.Queue(MAX_WAITING)
        # What the safety node has decided on its own commands, and is to be answered.
        self._decided: asyncio.Queue[tuple[Command, Report | None]] = asyncio.Queue(MAX_WAITING)
        self._obeyed: set[str] = set()
        self._executions: dict[str, _Execution] = {}
        self._stuck: set[asyncio.Task[Report]] = set()

    def offer(self, driver: Driver, commands: tuple[CommandSpec, ...], *, own: bool = False) -> None:
        """From now on the driver executes these commands; `own`: it is a part of the robot itself. Raises ValueError
        for a name that another driver offers."""
        for spec in commands:
            if spec.name.startswith(OWN) and not own:
                reserved = spec.name.partition(".")[0] + "."
                raise ValueError(
                    f"command {spec.name!r}: names below {reserved!r} are the robot's own, take another one"
                )
            if spec.name in self._offers:
                raise ValueError(f"command {spec.name!r} is offered by two drivers")
        for spec in commands:
            self._offers[spec.name] = (driver, spec, jsonschema_rs.Draft202012Validator(dict(spec.args)))

    def withdraw(self, driver: Driver) -> None:
        """The driver executes nothing any more; what it was executing has failed."""
        self._offers = {name: offer for name, offer in self._offers.items() if offer[0] is not driver}
        for command, execution in self._executions.items():
            if execution.driver is driver:
                self._tell_to_end(command, execution, "failed", "its driver ended while it executed this")

    def take(self, command: Command) -> None:
        """A command has arrived. One to the safety node waits for nothing: it is obeyed before this returns."""
        if command.name.startswith(SAFETY):
            self._obey(command)
            return
        if self._waiting.full():
            # Not remembered, so that the hub can send it again.
            log.warning("command %s is not taken in, %d are waiting", command.id, MAX_WAITING)
            return
        self._waiting.put_nowait(command)

    async def run(self) -> None:
        """Execute what arrives, for ever. What an earlier run was interrupted in has failed."""
        await self._end_interrupted()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._answer_decided(tasks), name="edge.commands.safety")
            while True:
                with self._pulse:
                    command = await self._waiting.get()
                driver, spec, problem = self._offer(command)
                verdict = self._safety.judge(command, spec, problem)
                if verdict.report is not None:
                    await self._send(verdict.report)
                if verdict.args is None or driver is None or isinstance(spec, str):
                    continue
                limited = Command(command.id, command.name, command.expires, dict(verdict.args), command.cause)
                execution = self._executions[command.id] = _Execution(driver, spec)
                work = self._execute(execution, limited, self._safety.rests, sync=verdict.sync)
                execution.task = tasks.create_task(work, name=f"edge.command.{command.id}")

    async def order(self, command: Command) -> Report:
        """Execute a command of the robot's own (`OWN_IDS`), through the same gate as the hub's; gives how it ended. The
        hub, which knows nothing of it, gets no report."""
        driver, spec, problem = self._offer(command)
        verdict = self._safety.judge(command, spec, problem)
        if driver is None or isinstance(spec, str) or verdict.args is None:
            return verdict.report or Report(command.id, "rejected", reason="it is being executed already")
        limited = Command(command.id, command.name, command.expires, dict(verdict.args), command.cause)
        execution = self._executions[command.id] = _Execution(driver, spec)
        return await self._execute(execution, limited, self._safety.rests, sync=verdict.sync)

    def cancel_motion(self, reason: str) -> None:
        """The robot is being brought to rest: end what may move it."""
        for command, execution in self._executions.items():
            if execution.spec.motion is None or execution.spec.motion.kind not in ("none", "stop"):
                self._tell_to_end(command, execution, "cancelled", reason)

    async def end(self, reason: str) -> None:
        """The robot's end: everything that is being executed ends as cancelled."""
        for command, execution in self._executions.items():
            self._tell_to_end(command, execution, "cancelled", reason)
        tasks = [execution.task for execution in self._executions.values() if execution.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)

    def _tell_to_end(self, command: str, execution: _Execution, status: ReportStatus, reason: str) -> None:
        if execution.ending is None:
            execution.ending = Report(command, status, reason=_cut(reason))
            execution.over.set()

    def _offer(
        self, command: Command
    ) -> tuple[Driver | None, CommandSpec | str, Callable[[Mapping[str, Any]], str | None]]:
        offer = self._offers.get(command.name)
        if offer is None:
            known = ", ".join(sorted(self._offers)) or "none now"
            return None, f"this robot has no command {command.name!r}, known are {known}", lambda _: None
        driver, spec, validator = offer
        return driver, spec, lambda args: first_error(validator, dict(args), root="args")

    # --- commands to the safety node

    def _obey(self, command: Command) -> None:
        verdict = self._safety.judge(command, "there is no such command", lambda _: None)
        if verdict.report is None and verdict.args is None:
            return  # it is being obeyed already
        if not self._decided.full():
            if verdict.report is None:
                self._obeyed.add(command.id)
            self._decided.put_nowait((command, verdict.report))
        elif verdict.report is None:
            log.warning("command %s was obeyed, and is not answered, since %d are waiting", command.id, MAX_WAITING)
            self._safety.finish(Report(command.id, "failed", reason="too many came at once; this one was obeyed, too"))

    async def _answer_decided(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            command, report = await self._decided.get()
            if report is not None:
                await self._send(report)
            else:
                tasks.create_task(self._come_to_rest(command), name=f"edge.command.{command.id}")

    async def _come_to_rest(self, command: Command) -> None:
        """The safety node has decided already, and the drivers follow."""
        try:
            await self._send(Report(command.id, "accepted"))
            at_rest = self._stop is None or await self._stop()
        finally:
            self._obeyed.discard(command.id)
        report = Report(command.id, "succeeded")
        if not at_rest:
            reason = "not every driver says that it has come to rest; the others were halted, look at the robot"
            report = Report(command.id, "failed", reason=reason)
        self._safety.finish(report)
        await self._send(report)

    # --- commands to drivers

    async def _end_interrupted(self) -> None:
        """What was begun and has nobody who leads it to its end: nobody was in control of what it moved."""
        lost = [one for one in self._safety.unfinished() if one not in self._executions and one not in self._obeyed]
        if lost and self._stop is not None:
            await self._stop()
        for command in lost:
            report = Report(command, "failed", reason="the node of commands was started anew while it executed this")
            self._safety.finish(report)
            await self._send(report)

    async def _execute(self, execution: _Execution, command: Command, rests: int, *, sync: bool) -> Report:
        outcome = self._outcome(execution, command, rests, sync=sync)
        work = asyncio.create_task(outcome, name=f"edge.command.{command.id}.work")
        work.add_done_callback(lambda _: execution.over.set())
        try:
            await execution.over.wait()
            report = await self._ended(work, execution, command)
        finally:
            self._executions.pop(command.id, None)
            self._let_go(work)
        self._safety.finish(report, execution.spec)
        await self._send(report)
        return report

    async def _ended(self, work: "asyncio.Task[Report]", execution: _Execution, command: Command) -> Report:
        """End the work if it has not ended; the report on it."""
        if not work.done():
            work.cancel()
            if not await ended_within(work, self._clock, END_WITHIN):
                log.error("command %s (%s) does not end although it was told to", command.id, command.name)
        if work.done() and not work.cancelled():
            return work.result()
        return execution.ending or Report(command.id, "failed", reason="its driver gave it up without a reason")

    def _let_go(self, work: "asyncio.Task[Report]") -> None:
        if not work.done():
            work.cancel()
            self._stuck.add(work)  # the event loop itself holds no task
            work.add_done_callback(self._stuck.discard)

    async def _outcome(self, execution: _Execution, command: Command, rests: int, *, sync: bool) -> Report:
        async def progress(done: float) -> None:
            if execution.ending is not None:
                raise CommandFailedError(execution.ending.reason or "it was told to end", cancelled=True)
            await self._send(Report(command.id, "running", progress=min(1.0, max(0.0, done))))

        try:
            await self._send(Report(command.id, "accepted"))
            if sync:
                await self._safety.on_disk()
            await self._send(Report(command.id, "running"))
            if self._safety.rests != rests:
                raise CommandFailedError("the robot was brought to rest before it began", cancelled=True)
            corrected = self._corrected(execution.driver, execution.spec, command)
            return _succeeded(command, await execution.driver.execute(corrected, progress))
        except CommandRejectedError as error:
            return Report(command.id, "rejected", reason=_cut(str(error)))
        except CommandFailedError as error:
            return Report(command.id, "cancelled" if error.cancelled else "failed", reason=_cut(str(error)))
        except Exception as error:
            log.exception("command %s (%s) failed", command.id, command.name)
            return Report(command.id, "failed", reason=_cut(f"{type(error).__name__}: {error}"))

    async def _send(self, report: Report) -> None:
        """Keep a report in the outbox. One that cannot be kept must not end what else is under way."""
        if report.command.startswith(OWN_IDS):
            return
        try:
            await self._report(report)
        except Exception:
            log.exception("command %s: the report %r could not be kept", report.command, report.status)

    def _corrected(self, driver: Driver, spec: CommandSpec, command: Command) -> Command:
        """The command as its motors and wheels need it. The limits were kept on what is wanted, and are kept again on
        what comes out: whichever of the two is what the robot really does, it exceeds none."""
        if self._calibration is None or spec.motion is None or spec.motion.kind not in ("velocity", "goal"):
            return command
        given, doubt = self._calibration.commanded(spec, command.args), self._calibration.doubt(driver)
        args = self._safety.capped(spec, given, command.args, None if doubt is None else doubt.real)
        return Command(command.id, command.name, command.expires, args, command.cause)


def _succeeded(command: Command, result: dict[str, Any] | None) -> Report:
    """The report on what was done, without a result that cannot be sent: it was done all the same."""
    report = Report(command.id, "succeeded", result=result)
    if result is None or (trouble := fault(report)) is None:
        return report
    log.error("command %s (%s) succeeded, but its result cannot be sent: %s", command.id, command.name, trouble)
    return Report(command.id, "succeeded", reason=_cut(f"its result cannot be sent: {trouble}"))


def _cut(text: str) -> str:
    return text if len(text) <= REASON_LENGTH else text[: REASON_LENGTH - 1] + "…"
