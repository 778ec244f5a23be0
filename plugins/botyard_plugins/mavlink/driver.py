"""The driver `mavlink`: a vehicle with PX4 or ArduPilot."""

import asyncio
import importlib
import logging
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Self

from botyard_edge.driver import (
    Capabilities,
    Command,
    CommandFailedError,
    CommandRejectedError,
    ConfigurationError,
    Driver,
    DriverContext,
    DriverError,
    Port,
    Progress,
    StateChange,
)
from botyard_plugins.mavlink import vehicle as telemetry
from botyard_plugins.mavlink.address import parse
from botyard_plugins.mavlink.declared import Action, actions
from botyard_plugins.mavlink.geometry import Origin
from botyard_plugins.mavlink.link import GoneError, Link, SilentError
from botyard_plugins.mavlink.order import Cockpit, Order, hold_message
from botyard_plugins.mavlink.outgoing import Heard, Outgoing
from botyard_plugins.mavlink.protocol import AnsweredError, Commands
from botyard_plugins.mavlink.rest import TOLD_WITHIN, Asides, hold
from botyard_plugins.mavlink.texts import Texts
from botyard_plugins.mavlink.vehicle import Vehicle
from botyard_plugins.mavlink.wires import Wire, make_wire
from botyard_schemas.messages import Health

log = logging.getLogger(__name__)

DIALECT = "pymavlink.dialects.v20.ardupilotmega"  # holds `common`, which is what PX4 speaks
# Seconds between two attempts to connect: doubling, since each is an event in the log of a radio or a router.
RETRY, RETRY_MAX = 1.0, 30.0
STEP = 0.25  # s between two looks at the heartbeat
# A vehicle that was switched off and on too quickly to be missed has forgotten what it is to send: seconds after which
# it is asked again.
QUIET, ASKED_AGAIN = 10.0, 30.0
FAST = ("GLOBAL_POSITION_INT", "ATTITUDE")
SLOW = (
    *("GPS_RAW_INT", "SYS_STATUS", "BATTERY_STATUS", "VFR_HUD", "MISSION_CURRENT", "EXTENDED_SYS_STATE"),
    *("HOME_POSITION",),
)


class MavlinkDriver(Driver):
    """Hears one vehicle for as long as the robot runs; one that falls silent is waited for."""

    def __init__(self, context: DriverContext) -> None:
        super().__init__(context)
        options = context.options
        self._origin = Origin(options["origin"], options["origin"]["frame"]) if options["origin"] else None
        self._actions: dict[str, Action] = {
            one.spec.name: one for one in actions(self._origin.frame if self._origin else None)
        }
        self._texts = Texts(context.clock)
        self._outgoing = Outgoing()
        self._trouble: str | None = None
        self._health: tuple[Health, list[str]] = ("ok", [])
        # The turn in which a stop was wanted that could not reach the vehicle.
        self._hold_wanted: int | None = None
        self._told = 0.0  # when position or attitude came last
        self._port: Port | None = None
        self._asides = Asides(context.clock)

    async def __aenter__(self) -> Self:
        options = self.context.options
        try:
            self._address = parse(options["connection"])
            # A large module of tables: read elsewhere, and only by who uses it.
            dialect = await asyncio.to_thread(importlib.import_module, DIALECT)
            if self._address.kind == "serial":
                await asyncio.to_thread(importlib.import_module, "serial")
        except ValueError as error:
            raise ConfigurationError(f"connection: {error}") from error
        except ImportError as error:
            needed = "pyserial" if error.name == "serial" else "pymavlink"
            raise ConfigurationError(
                f"the driver mavlink needs the package {needed}: pip install 'botyard[mavlink]'"
            ) from error
        self._link = Link(
            dialect,
            self.context.clock,
            system=options["system"],
            component=options["component"],
            own_system=options["own_system"],
            own_component=options["own_component"],
        )
        self._vehicle = Vehicle(dialect, self._origin, self.context.clock)
        self._commands = Commands(self._link, options["ack_timeout"], options["attempts"])
        self._cockpit = Cockpit(self._link, self._vehicle, self._commands, options, self._origin)
        return self

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            telemetry.channels(self.context.options["rate"], self._origin),
            tuple(action.spec for action in self._actions.values()),
        )

    async def run(self, port: Port) -> None:
        self._port = port
        prefix = f"edge.mavlink.{self.context.name}"
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._outgoing.run(port), name=f"{prefix}.publish")
            tasks.create_task(self._beat(port), name=f"{prefix}.heartbeat")
            pause = RETRY
            while True:
                try:
                    async with make_wire(self._address) as wire:
                        await self._listen(wire, port)
                except GoneError as error:
                    await self._note_missing(port, str(error))
                pause = RETRY if self._link.heard_messages else min(2 * pause, RETRY_MAX)
                self._link.heard_messages = 0
                await self.context.clock.sleep(pause)

    async def execute(self, command: Command, progress: Progress) -> dict[str, Any] | None:
        name = command.name
        if not self._link.present:
            raise CommandRejectedError(f"{name}: the vehicle is not connected")
        try:
            return await self._actions[name].do(Order(self._cockpit, name, progress), command.args)
        except (SilentError, GoneError) as error:
            raise CommandFailedError(f"{name}: {error}; whether the vehicle does it is not known") from error

    async def stop(self) -> None:
        """Let it hold. Raises DriverError where it was under way and is not seen to hold, or is away."""
        moves = self._moves_itself()
        if not self._link.present:
            self._hold_wanted = self._cockpit.turn
            if moves:
                mode = self._vehicle.mode
                raise DriverError(f"the vehicle is away, and was under way in {mode}; whether it holds is not known")
        elif moves:
            await self._come_to_rest()

    def halt(self) -> None:
        modes = self._vehicle.modes
        if modes is None or not self._link.present or not self._moves_itself():
            return
        try:
            self._link.send(hold_message(self._link, modes))
        except (SilentError, GoneError) as error:
            log.warning("the vehicle could not be told to hold: %s", error)

    def _moves_itself(self) -> bool:
        """Whether a stop is for it: not for one that a pilot flies, nor for one that comes to rest by landing."""
        vehicle = self._vehicle
        return vehicle.flies_itself and vehicle.modes is not None and vehicle.mode not in vehicle.modes.landing

    async def _come_to_rest(self) -> None:
        """Raises DriverError, after it was told, when the vehicle is not seen to hold."""
        try:
            await hold(self._cockpit)
        except DriverError as error:
            if self._port is not None:
                mode = self._vehicle.mode
                telling = self._port.event("mavlink.not_held", "critical", str(error), data={"mode": mode})
                await self._asides.run(telling, f"edge.mavlink.{self.context.name}.not_held", TOLD_WITHIN)
            raise

    # --- hearing

    async def _listen(self, wire: Wire, port: Port) -> None:
        """Hear the vehicle over this wire until the wire ends or is to be made anew. Raises GoneError."""
        prefix = f"edge.mavlink.{self.context.name}"
        reading = asyncio.create_task(self._link.read(wire, self._hear), name=f"{prefix}.read")
        asking: asyncio.Task[None] | None = None
        clock, timeout = self.context.clock, self.context.options["heartbeat_timeout"]
        since, asked, there = clock.monotonic(), 0.0, False
        try:
            while not reading.done():
                await clock.sleep(STEP)
                now, last = clock.monotonic(), self._link.last_heartbeat
                if last is not None and now - last > timeout:
                    self._link.forget()
                    self._vehicle.lost()
                    since, there = now, False
                    await self._note_missing(port, f"no heartbeat for {timeout:g} s")
                    if wire.reopens:
                        raise GoneError("the vehicle fell silent")
                elif last is not None and (not there or now - max(self._told, asked + ASKED_AGAIN - QUIET) > QUIET):
                    if not there:
                        await self._note_found(port)
                    there, asked = True, now
                    asking = await _replaced(asking, self._greet(), f"{prefix}.greet")
                elif last is None and now - since > timeout:
                    await self._note_missing(port, self._diagnosis(timeout))
                    if wire.reopens and now - since > RETRY_MAX:
                        raise GoneError("no vehicle is there")
            reading.result()
        finally:
            await _replaced(asking)
            await _replaced(reading)
            self._vehicle.lost()

    def _hear(self, message: Any) -> None:
        clock, kind = self.context.clock, message.get_type()
        values, state = self._vehicle.hear(message)
        said = self._texts.take(message) if kind == "STATUSTEXT" else None
        if said is not None and said.severity not in ("info", "debug"):
            self._cockpit.said.append((clock.monotonic(), said.text))
        if kind == "HEARTBEAT" and (health := self._vehicle.health()) != self._health:
            self._health = health
            state.update(self._shown_health())
        if kind in FAST:
            self._told = clock.monotonic()
        reached = message.seq if kind == "MISSION_ITEM_REACHED" else None
        if values or state or said is not None or reached is not None:
            self._outgoing.put(Heard(clock.now(), values, state, said, reached))

    async def _beat(self, port: Port) -> None:
        """Our heartbeat, 1 Hz: a vehicle that misses it knows that its ground station is lost."""
        dialect = self._link.dialect
        kind = (dialect.MAV_TYPE_GCS, dialect.MAV_AUTOPILOT_INVALID, 0, 0, dialect.MAV_STATE_ACTIVE, 3)
        while True:
            with suppress(SilentError, GoneError):  # whoever reads notices and says so
                self._link.send(dialect.MAVLink_heartbeat_message(*kind))
            port.alive()
            await self.context.clock.sleep(1.0)

    async def _greet(self) -> None:
        """Ask for what is to be published; and let it hold, where that was wanted while it was away."""
        vehicle = self._vehicle
        wanted, self._hold_wanted = self._hold_wanted, None
        if wanted == self._cockpit.turn and vehicle.modes is not None and vehicle.mode not in vehicle.modes.returning:
            try:
                await self.stop()
            except DriverError as error:
                log.error("a stop is made good: %s", error)
        dialect, rate = self._link.dialect, self.context.options["rate"]
        try:
            for name in (*FAST, *SLOW):
                message = getattr(dialect, f"MAVLINK_MSG_ID_{name}")
                interval = 1e6 / rate if name in FAST else 1e6
                try:
                    await self._commands.long(dialect.MAV_CMD_SET_MESSAGE_INTERVAL, float(message), interval)
                except AnsweredError as error:
                    log.info("%s is not sent more often: %s", name, error)
        except (SilentError, GoneError) as error:
            log.warning("the vehicle was not asked for its telemetry: %s", error)

    # --- whether it is there

    def _diagnosis(self, timeout: float) -> str:
        link, options = self._link, self.context.options
        if link.strangers:
            others = ", ".join(str(number) for number in sorted(link.strangers))
            return f"system {options['system']} is not heard, but {others}; is the option system right?"
        if link.heard_messages:
            return f"MAVLink is heard, but no autopilot with the component {options['component']}"
        if link.heard_bytes:
            return "bytes come, but no MAVLink; is the baud rate right?"
        return f"nothing was heard for {timeout:g} s"

    async def _note_missing(self, port: Port, reason: str) -> None:
        if self._trouble is not None:
            return
        self._trouble = f"{self.context.options['connection']}: no vehicle: {reason}; it is waited for"
        log.warning("%s", self._trouble)
        port.update_state(**self._shown_health())
        await port.event("mavlink.missing", "warning", self._trouble, data={"reason": reason})

    async def _note_found(self, port: Port) -> None:
        vehicle, system = self._vehicle, self._link.system
        self._trouble = None
        name = vehicle.modes.autopilot if vehicle.modes is not None else f"MAV_AUTOPILOT {vehicle.autopilot}"
        kind = vehicle.kind or f"MAV_TYPE {vehicle.mav_type}"
        sentence = f"{self.context.options['connection']}: the vehicle is there: {name}, {kind}, system {system}"
        log.info("%s", sentence)
        port.update_state(**self._shown_health())
        data = {"autopilot": name, "vehicle": kind, "system": system}
        await port.event("mavlink.found", "info", sentence, data=data)

    def _shown_health(self) -> StateChange:
        health, reasons = self._health
        if self._trouble is not None:
            return {"health": "warning", "health_reasons": [self._trouble]}
        return {"health": health, "health_reasons": reasons}


async def _replaced(
    task: "asyncio.Task[None] | None", work: Coroutine[Any, Any, None] | None = None, name: str = ""
) -> "asyncio.Task[None] | None":
    """End the task; another one in its place."""
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return asyncio.create_task(work, name=name) if work is not None else None
