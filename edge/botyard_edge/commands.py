"""Commands: judged on arrival by the safety node, executed once, and reported on from `accepted` to their end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import jsonschema_rs

from botyard_edge.calibration import CalibrationNode
from botyard_edge.driver import CommandFailedError, CommandRejectedError, CommandSpec, Driver
from botyard_edge.pulse import UNWATCHED, Silent
from botyard_edge.safety import SafetyNode
from botyard_schemas.clock import Clock
from botyard_schemas.messages import Command, Report
from botyard_schemas.validation import first_error

log = logging.getLogger(__name__)

MAX_WAITING = 64
REASON_LENGTH = 4096
# Names of what the robot itself understands are not for drivers.
OWN = ("safety.", "calibration.")


class CommandDesk:
    """Takes commands in and leads them to the driver that offers them. `report` keeps a report in the outbox; `stop`
    brings the whole robot to rest."""

    def __init__(
        self,
        report: Callable[[Report], Awaitable[object]],
        *,
        clock: Clock,
        stop: Callable[[], Awaitable[None]] | None = None,
        safety: SafetyNode | None = None,
        calibration: CalibrationNode | None = None,
        pulse: Silent = UNWATCHED,
    ) -> None:
        self._report = report
        self._stop = stop
        self._safety = safety or SafetyNode(clock=clock)
        self._calibration = calibration
        self._offers: dict[str, tuple[Driver, CommandSpec, jsonschema_rs.Validator]] = {}
        self._waiting: asyncio.Queue[Command] = asyncio.Queue(MAX_WAITING)
        self._tasks: dict[str, tuple[asyncio.Task[None], CommandSpec]] = {}
        self._cancelled: dict[str, str] = {}
        self._interrupted: list[tuple[str, CommandSpec | None]] = []
        self._pulse = pulse

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
        """The driver executes nothing any more."""
        self._offers = {name: offer for name, offer in self._offers.items() if offer[0] is not driver}

    def take(self, command: Command) -> None:
        """A command has arrived."""
        if self._waiting.full():
            # Not remembered, so that the hub can send it again.
            log.warning("command %s is not taken in, %d are waiting", command.id, MAX_WAITING)
            return
        self._waiting.put_nowait(command)

    async def run(self) -> None:
        """Execute what arrives, for ever. What an earlier run was interrupted in has failed."""
        await self._end_interrupted()
        async with asyncio.TaskGroup() as tasks:
            while True:
                with self._pulse:
                    command = await self._waiting.get()
                driver, spec, problem = self._offer(command)
                verdict = self._safety.judge(command, spec, problem)
                if verdict.report is not None:
                    await self._report(verdict.report)
                if verdict.args is None:
                    continue
                if driver is None or isinstance(spec, str):
                    tasks.create_task(self._come_to_rest(command), name=f"edge.command.{command.id}")
                    continue
                limited = Command(command.id, command.name, command.expires, dict(verdict.args), command.cause)
                work = self._execute(driver, spec, limited, self._safety.rests, sync=verdict.sync)
                task = tasks.create_task(work, name=f"edge.command.{command.id}")
                self._tasks[command.id] = (task, spec)

    def cancel_motion(self, reason: str) -> None:
        """The robot is being brought to rest: end what may move it."""
        for command, (task, spec) in self._tasks.items():
            if spec.motion is None or spec.motion.kind not in ("none", "stop"):
                self._cancel(command, task, reason)

    async def end(self, reason: str) -> None:
        """The robot's end: everything that is being executed ends as cancelled."""
        tasks = [task for task, _ in self._tasks.values()]
        for command, (task, _) in self._tasks.items():
            self._cancel(command, task, reason)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _cancel(self, command: str, task: "asyncio.Task[None]", reason: str) -> None:
        if command not in self._cancelled:
            self._cancelled[command] = reason
            # A moment later: a task that is cancelled before its first step would not even report.
            asyncio.get_running_loop().call_soon(lambda: task.cancel() if command in self._tasks else None)

    def _offer(
        self, command: Command
    ) -> tuple[Driver | None, CommandSpec | str, Callable[[Mapping[str, Any]], str | None]]:
        offer = self._offers.get(command.name)
        if offer is None:
            known = ", ".join(sorted(self._offers)) or "none now"
            return None, f"this robot has no command {command.name!r}, known are {known}", lambda _: None
        driver, spec, validator = offer
        return driver, spec, lambda args: first_error(validator, dict(args), root="args")

    async def _end_interrupted(self) -> None:
        interrupted, self._interrupted = self._interrupted, []
        if interrupted and self._stop is not None:
            await self._stop()  # nobody was in control of what they moved
        for command, spec in interrupted:
            report = Report(command, "failed", reason="the node of commands was started anew while it executed this")
            self._safety.finish(report, spec)
            await self._report(report)

    async def _come_to_rest(self, command: Command) -> None:
        """A command to the safety node itself: it has decided already, and the drivers follow."""
        try:
            await self._report(Report(command.id, "accepted"))
            if self._stop is not None:
                await self._stop()
        except asyncio.CancelledError:
            self._interrupted.append((command.id, None))
            raise
        report = Report(command.id, "succeeded")
        self._safety.finish(report)
        await self._report(report)

    async def _execute(self, driver: Driver, spec: CommandSpec, command: Command, rests: int, *, sync: bool) -> None:
        report: Report | None = None
        try:
            report = await self._outcome(driver, spec, command, rests, sync=sync)
        except asyncio.CancelledError:
            if command.id not in self._cancelled:
                self._interrupted.append((command.id, spec))
                raise
            report = Report(command.id, "cancelled", reason=_cut(self._cancelled[command.id]))
        finally:
            self._tasks.pop(command.id, None)
            self._cancelled.pop(command.id, None)
        self._safety.finish(report, spec)
        await self._report(report)

    async def _outcome(self, driver: Driver, spec: CommandSpec, command: Command, rests: int, *, sync: bool) -> Report:
        async def progress(done: float) -> None:
            await self._report(Report(command.id, "running", progress=min(1.0, max(0.0, done))))

        await self._report(Report(command.id, "accepted"))
        try:
            if sync:
                await self._safety.on_disk()
            await self._report(Report(command.id, "running"))
            if self._safety.rests != rests:
                raise CommandFailedError("the robot was brought to rest before it began", cancelled=True)
            corrected = self._corrected(spec, command)
            return Report(command.id, "succeeded", result=await driver.execute(corrected, progress))
        except CommandRejectedError as error:
            return Report(command.id, "rejected", reason=_cut(str(error)))
        except CommandFailedError as error:
            return Report(command.id, "cancelled" if error.cancelled else "failed", reason=_cut(str(error)))
        except Exception as error:
            log.exception("command %s (%s) failed", command.id, command.name)
            return Report(command.id, "failed", reason=_cut(f"{type(error).__name__}: {error}"))

    def _corrected(self, spec: CommandSpec, command: Command) -> Command:
        """The command as its motors need it. The limits were kept on what is wanted, and are kept again on what comes
        out: whichever of the two is what the robot really does, it exceeds none."""
        if self._calibration is None or spec.motion is None or spec.motion.kind != "velocity":
            return command
        args = self._calibration.commanded(spec, command.args)
        if args == command.args:
            return command
        return Command(command.id, command.name, command.expires, self._safety.capped(spec, args), command.cause)


def _cut(text: str) -> str:
    return text if len(text) <= REASON_LENGTH else text[: REASON_LENGTH - 1] + "…"
