"""The driver `sim`: a robot on a site plan, with the sensors that real ones have."""

import math
import random
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from botyard_edge.driver import (
    About,
    Battery,
    Capabilities,
    Channel,
    Command,
    CommandRejectedError,
    ConfigurationError,
    Driver,
    DriverContext,
    DriverSpec,
    Port,
    Pose,
    Progress,
    StateChange,
    Wheels,
)
from botyard_edge.hookspecs import hookimpl
from botyard_plugins.sim import body
from botyard_plugins.sim.commands import DOCK, commands_of
from botyard_plugins.sim.drive import Drive, Limits
from botyard_plugins.sim.facilities import facilities
from botyard_plugins.sim.geo import Origin
from botyard_plugins.sim.odometry import CHANNELS as ODOMETRY
from botyard_plugins.sim.odometry import Odometry
from botyard_plugins.sim.options import SCHEMA
from botyard_plugins.sim.pilot import Pilot, Speeds
from botyard_plugins.sim.plan import PlanError, load_roads
from botyard_plugins.sim.sensors import RATE, STEP, Sheet, Ticks

MOTION = RATE // 5  # ticks between two looks at the motion
GRAVITY = 9.81  # m/s2
OWN_MASS = 40.0  # kg
FRESH = 0.8  # charge of a battery that was changed
# Steady time in seconds, metres, radians, and whether the wheels are blocked.
Step = tuple[float, float, float, float, bool]
SLOW = RATE  # ticks between two looks at all else


class SimDriver(Driver):
    """Publishes force at 10 Hz, pose, speed and motors at 5 Hz, signals at their own rate, everything else at 1 Hz.

    The physics go in ticks of 0.1 s. They are computed when somebody looks: when a block of ticks is published, and
    before a command changes anything. So what happens does not depend on how large a block is.
    """

    def __init__(self, context: DriverContext) -> None:
        super().__init__(context)
        options = context.options
        self._rng = context.rng if options["seed"] is None else random.Random(options["seed"])
        self._origin = Origin(options["geo"]) if options["geo"] is not None else None
        self._with_geo = self._origin is not None and options["position"] != "plan"
        self._with_pose = options["position"] != "geo"
        self._signals = body.Signals(options["signals"])
        self._signal_ticks = RATE // options["signal_rate"]
        self._holonomic = options["kinematics"] == "holonomic"
        self._payload = options["payload"]
        self._track: list[Step] | None = None
        self._large_blocks = options["block"] >= 1.0
        self._said: str | None = None
        self._halted_at: float | None = None
        self._ticks: Ticks | None = None

    async def __aenter__(self) -> Self:
        options = self.context.options
        if self._origin is None and not self._with_pose:
            raise ConfigurationError("position: 'geo' needs the option geo with the origin's lat and lon")
        try:
            roads = load_roads(_plan_path(options["plan"], self.context.folder))
            self._plan, self._roads = roads.plan, roads
            start = self._start(options["start"])
            place = roads.at(start)
            roads.check(start)
        except PlanError as error:
            raise ConfigurationError(str(error)) from error
        limits = Limits(options["speed"], options["acceleration"])
        self._drive = Drive(place.x, place.y, 0.0, limits, holonomic=self._holonomic)
        self._odometry = Odometry(options["odometry"], self._drive) if options["odometry"] is not None else None
        level = options["battery"] if options["battery"] is not None else self._rng.uniform(0.5, 1.0)
        self._battery = body.Battery(level, options["battery_drain"])
        self._left, self._right = body.Motor(), body.Motor()
        self._energy = 0.0
        self._gripper = body.Gripper()
        self._radio = body.Radio(self._plan.access_points or [(self._plan.width / 2, self._plan.height / 2)])
        self._camera = body.Camera()
        shared = facilities(self._plan.id, roads.stations)
        self._pilot = Pilot(roads, self._drive, self._battery, self._rng, shared, patrol=options["patrol"])
        self._noise = body.Noise(self._rng)
        self._make_sheets()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._pilot.leave(self.context.clock.monotonic())

    def _make_sheets(self) -> None:
        with_signals = self._signals.names and self._signal_ticks == 1  # channels of one rate travel together
        self._force = Sheet(("gripper.force", *(self._signals.names if with_signals else ())))
        self._waves = Sheet(() if with_signals else self._signals.names)
        motion = [
            "speed",
            *(f"motor.{side}.{what}" for side in ("left", "right") for what in ("temperature", "current")),
        ]
        reckoned = [channel.name for channel in ODOMETRY] if self._odometry is not None else []
        self._motion = Sheet((*motion, *(["pose"] * self._with_pose), *(["geo"] * self._with_geo), *reckoned))
        self._rest = Sheet(("battery.level", "battery.voltage", "battery.current", "camera.front", "wifi.signal"))

    @property
    def capabilities(self) -> Capabilities:
        fixed = [
            Channel("speed", unit="m/s", rate=5, description="Over ground."),
            Channel("motor.left.temperature", unit="Cel", rate=5),
            Channel("motor.left.current", unit="A", rate=5),
            Channel("motor.right.temperature", unit="Cel", rate=5),
            Channel("motor.right.current", unit="A", rate=5),
            Channel("gripper.force", unit="N", rate=10),
            Channel("battery.level", unit="1", rate=1),
            Channel("battery.voltage", unit="V", rate=1),
            Channel("battery.current", unit="A", rate=1),
            Channel("camera.front", "object", rate=1, description="About the latest picture."),
            Channel("wifi.signal", unit="dB{mW}", rate=1, description="Strength of the received signal, dBm."),
        ]
        if self._with_pose:
            fixed.append(Channel("pose", "pose", rate=5))
        if self._with_geo:
            fixed.append(Channel("geo", "geo", rate=5))
        fixed += [Channel(name, rate=RATE / self._signal_ticks) for name in self._signals.names]
        commands = commands_of(self._roads, holonomic=self._holonomic)
        about = About(type=self.context.options["kinematics"], vendor="Botyard", model="sim-1")
        if self._odometry is None:
            return Capabilities(tuple(fixed), commands, about=about)
        channels = (*fixed, *ODOMETRY)
        return Capabilities(channels, commands, about=about, wheels=self._odometry.designed)

    async def run(self, port: Port) -> None:
        clock = self.context.clock
        self._ticks = ticks = Ticks(clock.now(), clock.monotonic(), round(self.context.options["block"] * RATE))
        while True:
            self._catch_up()
            await self._publish(port, ticks.epoch(clock.now(), clock.monotonic()))
            await clock.sleep(ticks.wait(clock.monotonic()))

    async def execute(self, command: Command, progress: Progress) -> dict[str, Any] | None:
        self._catch_up()
        if command.name == "goto":
            return await self._goto(command.args, progress)
        if command.name == "dock":
            return await self._goto({**command.args, "waypoint": self._pilot.nearest_dock()}, progress)
        if command.name == "stop":
            self._pilot.halt()
        elif command.name == "drive":
            self._pilot.go(*(float(command.args.get(name, 0.0)) for name in ("x", "y", "yaw")))
        elif command.name == "patrol":
            self._pilot.patrol = True
            self._pilot.speeds = _speeds(command.args)
        else:
            raise CommandRejectedError(f"there is no command {command.name!r}")
        return None

    async def stop(self) -> None:
        self._catch_up()
        self._pilot.halt()

    def measured(self, wheels: Wheels) -> None:
        self._catch_up()
        if self._odometry is not None:
            self._odometry.wheels = wheels

    def halt(self) -> None:
        # In any thread; the physics are the loop's, and brake in the first step after this moment.
        if self._halted_at is None:
            self._halted_at = self.context.clock.monotonic()

    async def _goto(self, args: dict[str, Any], progress: Progress) -> dict[str, Any]:
        goal = self._pilot.place(args.get("waypoint"), args.get("x"), args.get("y"))
        name = args.get("waypoint") or f"({goal.x:.1f}, {goal.y:.1f})"
        before = self._drive.driven
        order = self._pilot.obey(name, goal, _speeds(args))
        told = 0.0
        while not order.done.done():
            await self.context.clock.sleep(1.0)
            self._catch_up()
            if order.length and (done := 1.0 - self._drive.remaining / order.length) >= told + 0.1:
                told = done
                await progress(done)
        order.done.result()
        return {"x": round(goal.x, 3), "y": round(goal.y, 3), "driven_m": round(self._drive.driven - before, 2)}

    # --- the physics

    def _catch_up(self) -> None:
        """Compute the ticks that have passed."""
        if self._ticks is None:
            return
        for tick in self._ticks.passed(self.context.clock.monotonic()):
            if self._halted_at is not None and self._ticks.at(tick) > self._halted_at:
                self._halted_at = None
                self._pilot.halt()
            if tick:
                self._pilot.step(STEP, self._ticks.at(tick))
                self._drive.step(STEP)
            if self._track is not None:
                drive = self._drive
                self._track.append((self._ticks.at(tick), drive.x, drive.y, drive.yaw, drive.blocked))
            self._sense(tick)

    # --- for who simulates the world around it

    def afflict(self, what: str, value: float | None) -> None:
        """Break something of the robot's body, or mend it (None): `motor_stall` blocks the wheels, `battery_failure`
        leaves the battery with this charge at most."""
        self._catch_up()
        if what == "motor_stall":
            self._drive.blocked = value is not None
        elif what == "battery_failure":
            self._battery.level = FRESH if value is None else min(self._battery.level, max(0.0, value))

    def observe(self) -> list[Step]:
        """Where the robot really was in each tick since this was asked last; from the first time on."""
        if self._ticks is not None:
            self._catch_up()
        found, self._track = self._track or [], []
        return found

    def _sense(self, tick: int) -> None:
        noise = self._noise
        load = self._payload if self._pilot.carrying else 0.0
        self._gripper.load, self._drive.mass = load * GRAVITY, 1.0 + load / OWN_MASS
        force = round(self._gripper.force(self._drive.speed, noise.take(1)[0]), 2)
        if self._signals.names and tick % self._signal_ticks == 0:
            waves = self._signals.values(tick * STEP, noise.take(len(self._signals.names)))
            if self._signal_ticks == 1:
                self._force.add(tick, (force, *waves))
            else:
                self._waves.add(tick, waves)
        if self._signal_ticks != 1 or not self._signals.names:
            self._force.add(tick, (force,))
        if tick % MOTION == 0:
            self._sense_motion(tick)
            if tick % SLOW == 0:
                self._sense_rest(tick)

    def _sense_motion(self, tick: int) -> None:
        drive, left, right = self._drive, self._left, self._right
        speed, side, seconds = drive.speed, 0.2 * drive.turning, STEP * MOTION
        if drive.blocked and not drive.arrived:
            left.stall(seconds)
            right.stall(seconds)
        else:
            left.step(speed - side, drive.acceleration, seconds, drive.mass)
            right.step(speed + side, drive.acceleration, seconds, drive.mass)
        self._energy += (body.IDLE_POWER + left.power + right.power) * seconds
        noise = self._noise.take(7)
        # Localisation errs by a centimetre while the robot moves, and stays where it is while it rests.
        x, y, yaw = round(drive.x, 3), round(drive.y, 3), round(drive.yaw, 4)
        if speed > 0.0:
            x, y = round(drive.x + 0.008 * noise[0], 3), round(drive.y + 0.008 * noise[1], 3)
            speed = round(max(0.0, speed + 0.01 * noise[2]), 3)
        row: list[Any] = [
            speed,
            round(left.temperature + 0.1 * noise[3], 2),
            round(max(0.0, left.current + 0.05 * noise[4]), 3),
            round(right.temperature + 0.1 * noise[5], 2),
            round(max(0.0, right.current + 0.05 * noise[6]), 3),
        ]
        if self._with_pose:
            row.append(Pose(self._plan.id, x, y, yaw))
        if self._with_geo and self._origin is not None:
            row.append(self._origin.geo(x, y, yaw))
        if self._odometry is not None:
            row += self._odometry.values()
        self._motion.add(tick, row)

    def _sense_rest(self, tick: int) -> None:
        battery, noise = self._battery, self._noise.take(6)
        seconds = STEP * SLOW
        battery.step(self._energy / seconds, seconds)
        self._energy = 0.0
        self._rest.add(
            tick,
            (
                round(battery.level, 4),
                round(battery.voltage + 0.02 * noise[0], 2),
                round(battery.current + 0.05 * noise[1], 2),
                self._camera.picture(self._drive.speed, noise[2:4]),
                round(self._radio.signal(self._drive.x, self._drive.y, noise[4:6]), 1),
            ),
        )

    async def _publish(self, port: Port, epoch: int) -> None:
        """Publish what was sensed, and the state as it is now."""
        state: StateChange = {}
        if self._motion:
            if self._with_pose:
                state["pose"] = self._motion.latest("pose")
            if self._with_geo:
                state["geo"] = self._motion.latest("geo")
        if self._rest:
            level, voltage, current = (self._rest.latest(f"battery.{what}") for what in ("level", "voltage", "current"))
            state["battery"] = Battery(level, voltage, current, self._battery.charging)
            state["busy"], state["doing"] = self._pilot.busy, self._pilot.doing
            if (trouble := self._pilot.trouble) != self._said:
                self._said = trouble
                state["health"], state["health_reasons"] = ("error", [trouble]) if trouble else ("ok", [])
        if state:
            port.update_state(**state)
        for sheet in (self._waves, self._force, self._motion, self._rest):
            if sheet:
                await sheet.publish(port, epoch)
        if self._large_blocks:
            await port.flush()  # nothing more comes for a while

    def _start(self, wanted: str | None) -> str:
        if wanted is not None:
            return wanted
        places = self._roads.destinations(lambda s: s.kind == "dock") or self._roads.destinations(lambda _: True)
        return self._rng.choice(places)


def _speeds(args: Mapping[str, Any]) -> Speeds:
    """The highest that a command wants."""
    return args.get("speed", math.inf), args.get("turn_speed", math.inf)


def _plan_path(option: str | None, folder: Path) -> Path:
    if option is None:
        return Path(str(files("botyard_plugins") / "simulation" / "warehouse.yaml"))
    return folder / option


@hookimpl
def botyard_edge_drivers() -> Iterable[DriverSpec]:
    """The simulated robot."""
    return [
        DriverSpec(
            "sim",
            "A simulated robot on a site plan.",
            SimDriver,
            SCHEMA,
            hang_after=10.0,
            dock=lambda _: DOCK,
        )
    ]
