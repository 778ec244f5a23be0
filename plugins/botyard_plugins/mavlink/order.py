"""One command of the hub at work: it asks the autopilot, and watches whether the vehicle does it."""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from botyard_edge.driver import CommandFailedError, CommandRejectedError, Progress
from botyard_plugins.mavlink.geometry import Origin
from botyard_plugins.mavlink.link import Link
from botyard_plugins.mavlink.modes import Modes
from botyard_plugins.mavlink.protocol import CANCELLED, FAILED, AnsweredError, Commands
from botyard_plugins.mavlink.vehicle import Vehicle

STEP = 0.1  # s between two looks at the vehicle
HEARTBEAT = 1.2  # s from one, which tells the mode, to the next
SHOWN_WITHIN = 5.0  # s after an acknowledgement within which it has to be seen
STALL, STRAY = 30.0, 300.0  # s without getting nearer: standing still, and moving
NEARER = 0.3  # m that count as getting nearer
SAID_WITHIN = 10.0  # s; what the autopilot said as long before it refused is told as its reason
SAID = 3
AS_IT_IS, CHANGE_MODE = -1.0, 1.0  # of MAV_CMD_DO_REPOSITION
HOLD_HERE = (AS_IT_IS, CHANGE_MODE, 0.0, math.nan, math.nan, math.nan, math.nan)


def hold_message(link: Link, modes: Modes) -> Any:
    """What lets a vehicle stay where it is, as a single message. Raises SilentError."""
    dialect, target = link.dialect, link.target
    if modes.autopilot == "PX4":
        return dialect.MAVLink_command_long_message(*target, dialect.MAV_CMD_DO_REPOSITION, 0, *HOLD_HERE)
    custom = dialect.MAV_MODE_FLAG_CUSTOM_MODE_ENABLED
    params = (custom, *modes.parameters(modes.hold), 0.0, 0.0, 0.0, 0.0)
    return dialect.MAVLink_command_long_message(*target, dialect.MAV_CMD_DO_SET_MODE, 0, *params)


@dataclass(slots=True)
class Cockpit:
    """What all commands share. `turn` counts those that move the vehicle: of them, the latest one counts."""

    link: Link
    vehicle: Vehicle
    commands: Commands
    options: Mapping[str, Any]
    origin: Origin | None
    turn: int = 0
    said: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=SAID))


class Order:
    """One command. What it raises is what its report says."""

    def __init__(self, cockpit: Cockpit, name: str, progress: Progress) -> None:
        self.name = name
        self.link = cockpit.link
        self.vehicle = cockpit.vehicle
        self.options = cockpit.options
        self.origin = cockpit.origin
        self.progress = progress
        self._cockpit = cockpit
        self._turn: int | None = None
        self._began = False

    @property
    def modes(self) -> Modes:
        """The vehicle's modes. Raises CommandRejectedError."""
        if self.vehicle.modes is None:
            raise self.rejected(
                f"only PX4 and ArduPilot are known, and this is MAV_AUTOPILOT {self.vehicle.autopilot} "
                f"on MAV_TYPE {self.vehicle.mav_type}: its telemetry is all there is"
            )
        return self.vehicle.modes

    def rejected(self, why: str) -> CommandRejectedError:
        """Nothing was begun."""
        return CommandRejectedError(f"{self.name}: {why}")

    def failed(self, why: str, *, cancelled: bool = False) -> CommandFailedError:
        """It ends without success."""
        return CommandFailedError(f"{self.name}: {why}", cancelled=cancelled)

    def need_armed(self) -> None:
        """Raises CommandRejectedError unless the motors may turn."""
        if not self.vehicle.armed:
            raise self.rejected("the vehicle is not armed; send arm first")

    def need_mode(self, mode: str) -> None:
        """Raises CommandRejectedError unless the vehicle has the mode, and it may be commanded."""
        modes = self.modes
        if mode in modes.never:
            raise self.rejected(f"{mode} is not commanded from afar: it ends the flight, or needs a pilot")
        if mode not in modes.numbers:
            known = ", ".join(sorted(set(modes.numbers) - modes.never))
            raise self.rejected(f"{modes.autopilot} has no mode {mode!r} for this vehicle, known are {known}")

    def need_no_pilot(self) -> None:
        """Raises CommandRejectedError where a pilot flies the vehicle, who is not to be interrupted."""
        if self.vehicle.armed and self.modes and not self.vehicle.flies_itself:
            raise self.rejected(f"a pilot flies the vehicle in {self.vehicle.mode}")

    def take_over(self) -> None:
        """From now on this command moves the vehicle, and no other."""
        self._cockpit.turn += 1
        self._turn = self._cockpit.turn

    async def ask(self, command: str, *params: float) -> None:
        """COMMAND_LONG. Raises CommandRejectedError, or CommandFailedError once something was begun."""
        await self._asked(self._cockpit.commands.long(self._number(command), *params, progress=self.progress))

    async def ask_at(self, command: str, frame: int, place: tuple[float, float, float], *params: float) -> None:
        """COMMAND_INT at latitude, longitude and altitude. Raises as `ask`."""
        await self._asked(self._cockpit.commands.at(self._number(command), frame, *place, *params))

    async def ask_for(self, modes: frozenset[str], command: str, *params: float) -> None:
        """COMMAND_LONG that leads to one of these modes. Raises as `ask`.

        Older PX4 says "not now" to what it does already (Commander::handle_command), and so to a command that comes
        again since its acknowledgement was lost.
        """
        clock = self.link.clock
        if self.vehicle.mode in modes:
            return
        try:
            await self.ask(command, *params)
        except (CommandRejectedError, CommandFailedError):
            until = clock.monotonic() + HEARTBEAT
            while self.vehicle.mode not in modes:
                if clock.monotonic() >= until:
                    raise
                await clock.sleep(STEP)

    async def change_mode(self, mode: str) -> None:
        """Change it, and see it changed. Raises as `ask`."""
        custom = self.link.dialect.MAV_MODE_FLAG_CUSTOM_MODE_ENABLED
        await self.ask("MAV_CMD_DO_SET_MODE", custom, *self.modes.parameters(mode))
        await self.see(lambda: self.vehicle.mode == mode, lambda: f"in mode {mode}, but in {self.vehicle.mode}")

    async def hold(self) -> None:
        """Let it stay where it is, and see it in the mode in which it does. Raises as `ask`.

        PX4 flies on to a point that it was told in the very mode that holds; as its ground station does, it is told the
        point where it is, which is NaN (MAV_CMD_DO_REPOSITION).
        """
        modes = self.modes
        if modes.autopilot == "PX4":
            await self.ask("MAV_CMD_DO_REPOSITION", *HOLD_HERE)
            await self.see(lambda: self.vehicle.mode == modes.hold, lambda: f"holding, but in {self.vehicle.mode}")
        elif self.vehicle.mode != modes.hold:
            await self.change_mode(modes.hold)

    async def see(self, condition: Callable[[], bool], what: Callable[[], str]) -> None:
        """Wait until the vehicle is seen to be so. Raises CommandFailedError when it is not, after 5 s."""
        clock = self.link.clock
        end = clock.monotonic() + SHOWN_WITHIN
        while not condition():
            self.go_on()
            if clock.monotonic() >= end:
                raise self.failed(self.with_reason(f"acknowledged, but after {SHOWN_WITHIN:g} s it is not {what()}"))
            await clock.sleep(STEP)

    async def reach(self, done: Callable[[], bool], left: Callable[[], float], modes: frozenset[str]) -> None:
        """Wait until it is done, while `left` metres get less and the mode is one of these.

        Raises CommandFailedError when it stands still for 30 s or gets no nearer for 5 min, when the mode changes, the
        motors stop, another command takes its place or the vehicle is lost.
        """
        clock, vehicle = self.link.clock, self.vehicle
        first = best = left()
        since = moved = clock.monotonic()
        told = 0.0
        while not done():
            self.go_on()
            if vehicle.mode not in modes:
                raise self.failed(self.with_reason(f"the vehicle changed to {vehicle.mode}"), cancelled=True)
            if not vehicle.armed:
                raise self.failed(self.with_reason("its motors were switched off"))
            now = clock.monotonic()
            moved = moved if vehicle.at_rest else now
            if (rest := left()) <= best - NEARER:
                best, since = rest, now
                if first > 0 and (part := 1.0 - rest / first) >= told + 0.1:
                    told = part
                    await self.progress(part)
            elif now - max(since, moved) > STALL or now - since > STRAY:
                raise self.failed(self.with_reason(f"it gets no nearer for {now - since:.0f} s"))
            await clock.sleep(STEP)

    def with_reason(self, sentence: str) -> str:
        """The sentence, and what the autopilot said of it lately."""
        since = self.link.clock.monotonic() - SAID_WITHIN
        said = [text for at, text in self._cockpit.said if at >= since]
        return f"{sentence}; it said: {' / '.join(said)}" if said else sentence

    def go_on(self) -> None:
        """Raises CommandFailedError when another command has taken over, or the vehicle is lost."""
        if self._turn is not None and self._turn != self._cockpit.turn:
            raise self.failed("another command took its place", cancelled=True)
        if not self.link.present:
            raise self.failed("the connection to the vehicle was lost; what it does now is not known")

    async def _asked(self, asking: Any) -> None:
        try:
            await asking
        except AnsweredError as error:
            sentence = f"{self.name}: {self.with_reason(str(error))}"
            if error.result == CANCELLED:
                raise CommandFailedError(sentence, cancelled=True) from error
            if self._began or error.result == FAILED:
                raise CommandFailedError(sentence) from error
            raise CommandRejectedError(sentence) from error
        self._began = True

    def _number(self, command: str) -> int:
        return int(getattr(self.link.dialect, command))
