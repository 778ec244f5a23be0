"""Commands: checked on arrival, executed once, and reported on from `accepted` to their end."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import jsonschema_rs

from botyard_edge.driver import CommandFailedError, CommandRejectedError, CommandSpec, Driver
from botyard_schemas.clock import Clock
from botyard_schemas.messages import Command, Report
from botyard_schemas.validation import first_error

log = logging.getLogger(__name__)

# Ids that are remembered, so that a command that is sent again does nothing more.
REMEMBERED = 4096
MAX_WAITING = 64
MAX_RUNNING = 32
REASON_LENGTH = 4096
# What every robot understands, whatever its drivers offer. Names below `safety.` are not for drivers.
STOP, OWN = "safety.stop", "safety."


class CommandDesk:
    """Takes commands in and leads them to the driver that offers them. `report` keeps a report in the outbox; `stop`
    brings the whole robot to rest."""

    def __init__(
        self,
        report: Callable[[Report], Awaitable[object]],
        *,
        clock: Clock,
        stop: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._report = report
        self._stop = stop
        self._clock = clock
        self._offers: dict[str, tuple[Driver, jsonschema_rs.Validator]] = {}
        self._waiting: asyncio.Queue[Command] = asyncio.Queue(MAX_WAITING)
        self._known: OrderedDict[str, None] = OrderedDict()
        self._running = 0

    def offer(self, driver: Driver, commands: tuple[CommandSpec, ...]) -> None:
        """From now on the driver executes these commands. Raises ValueError for a name that another driver offers."""
        for spec in commands:
            if spec.name.startswith(OWN):
                raise ValueError(f"command {spec.name!r}: names below {OWN!r} are the robot's own, take another one")
            if spec.name in self._offers:
                raise ValueError(f"command {spec.name!r} is offered by two drivers")
        for spec in commands:
            self._offers[spec.name] = (driver, jsonschema_rs.Draft202012Validator(dict(spec.args)))

    def withdraw(self, driver: Driver) -> None:
        """The driver executes nothing any more."""
        self._offers = {name: offer for name, offer in self._offers.items() if offer[0] is not driver}

    def take(self, command: Command) -> None:
        """A command has arrived. One that was seen before does nothing more."""
        if command.id in self._known:
            log.debug("command %s came again", command.id)
            return
        if self._waiting.full():
            # Not remembered, so that the hub can send it again.
            log.warning("command %s is not taken in, %d are waiting", command.id, MAX_WAITING)
            return
        self._known[command.id] = None
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        self._waiting.put_nowait(command)

    async def run(self) -> None:
        """Execute what arrives, for ever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                command = await self._waiting.get()
                problem = self._problem(command)
                if problem is not None:
                    await self._report(problem)
                    continue
                if command.name == STOP and self._stop is not None:
                    tasks.create_task(self._come_to_rest(command, self._stop), name=f"edge.command.{command.id}")
                    continue
                driver, _ = self._offers[command.name]
                self._running += 1
                await self._report(Report(command.id, "accepted"))
                tasks.create_task(self._execute(driver, command), name=f"edge.command.{command.id}")

    def _problem(self, command: Command) -> Report | None:
        if self._clock.now() >= command.expires:
            late = (self._clock.now() - command.expires) / 1e6
            return Report(command.id, "expired", reason=f"it came {late:.1f} s after its deadline")
        if command.name == STOP and self._stop is not None:
            return None
        offer = self._offers.get(command.name)
        if offer is None:
            known = ", ".join(sorted(self._offers)) or "none now"
            return _rejected(command, f"this robot has no command {command.name!r}, known are {known}")
        if self._running >= MAX_RUNNING:
            return _rejected(command, f"{MAX_RUNNING} commands are being executed already")
        wrong = first_error(offer[1], command.args)
        return _rejected(command, f"args.{wrong}") if wrong else None

    async def _come_to_rest(self, command: Command, stop: Callable[[], Awaitable[None]]) -> None:
        await self._report(Report(command.id, "accepted"))
        await stop()
        await self._report(Report(command.id, "succeeded"))

    async def _execute(self, driver: Driver, command: Command) -> None:
        async def progress(done: float) -> None:
            await self._report(Report(command.id, "running", progress=min(1.0, max(0.0, done))))

        try:
            await self._report(Report(command.id, "running"))
            result = await driver.execute(command, progress)
            report = Report(command.id, "succeeded", result=result)
        except CommandRejectedError as error:
            report = _rejected(command, str(error))
        except CommandFailedError as error:
            report = Report(command.id, "cancelled" if error.cancelled else "failed", reason=_cut(str(error)))
        except Exception as error:
            log.exception("command %s (%s) failed", command.id, command.name)
            report = Report(command.id, "failed", reason=_cut(f"{type(error).__name__}: {error}"))
        finally:
            self._running -= 1
        await self._report(report)


def _rejected(command: Command, reason: str) -> Report:
    return Report(command.id, "rejected", reason=_cut(reason))


def _cut(text: str) -> str:
    return text if len(text) <= REASON_LENGTH else text[: REASON_LENGTH - 1] + "…"
