"""The driver `sim`: a robot on a site plan, with the sensors that real ones have."""

import random
import threading
from collections.abc import Iterable
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
    CommandSpec,
    ConfigurationError,
    Driver,
    DriverContext,
    DriverSpec,
    Motion,
    Port,
    Pose,
    Progress,
)
from botyard_edge.hookspecs import hookimpl
from botyard_plugins.sim import body
from botyard_plugins.sim.drive import Drive, Limits
from botyard_plugins.sim.geo import Origin
from botyard_plugins.sim.options import SCHEMA
from botyard_plugins.sim.pilot import Pilot
from botyard_plugins.sim.plan import PlanError, Roads, load_plan

RATE = 10  # Hz, of the fastest sensor
STEP = 1.0 / RATE  # s
SUBSTEPS = 4  # of the physics in each step
BEHIND = 2.0  # s; a robot that was suspended for longer does not catch up

GOTO = CommandSpec(
    "goto",
    "Drive along the roads to a station, or to a point on a road.",
    {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "waypoint": {"type": "string", "description": "Name of a station."},
            "x": {"type": "number", "description": "Metres on the plan."},
            "y": {"type": "number", "description": "Metres on the plan."},
        },
        "oneOf": [{"required": ["waypoint"]}, {"required": ["x", "y"]}],
    },
    motion=Motion("goal", goal=("x", "y")),
)
STOP = CommandSpec("stop", "Come to rest and stay there until the next command.", motion=Motion("stop"))
PATROL = CommandSpec(
    "patrol", "Drive between stations again, of one's own accord.", motion=Motion("goal", lasting=True)
)


class SimDriver(Driver):
    """Publishes force at 10 Hz, pose, speed and motors at 5 Hz, signals at their own rate, everything else at 1 Hz."""

    def __init__(self, context: DriverContext) -> None:
        super().__init__(context)
        options = context.options
        self._rng = context.rng if options["seed"] is None else random.Random(options["seed"])
        self._origin = Origin(options["geo"]) if options["geo"] is not None else None
        self._with_geo = self._origin is not None and options["position"] != "plan"
        self._with_pose = options["position"] != "geo"
        self._signals = body.Signals(options["signals"])
        self._signal_ticks = RATE // options["signal_rate"]
        self._halted = threading.Event()

    async def __aenter__(self) -> Self:
        options = self.context.options
        if self._origin is None and not self._with_pose:
            raise ConfigurationError("position: 'geo' needs the option geo with the origin's lat and lon")
        try:
            self._plan = load_plan(_plan_path(options["plan"], self.context.folder))
            self._roads = Roads(self._plan)
            start = self._start(options["start"])
            place = self._roads.at(start)
            for name in self._roads.destinations(lambda _: True):
                self._roads.route(place, self._roads.at(name))
        except PlanError as error:
            raise ConfigurationError(str(error)) from error
        self._drive = Drive(place.x, place.y, 0.0, Limits(options["speed"], options["acceleration"]))
        level = options["battery"] if options["battery"] is not None else self._rng.uniform(0.5, 1.0)
        self._battery = body.Battery(level, options["battery_drain"])
        self._motors = {"left": body.Motor(), "right": body.Motor()}
        self._gripper = body.Gripper()
        self._radio = body.Radio(self._plan.access_points or [(self._plan.width / 2, self._plan.height / 2)])
        self._camera = body.Camera()
        self._pilot = Pilot(self._roads, self._drive, self._battery, self._rng, patrol=options["patrol"])
        return self

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
        about = About(type="diffdrive", vendor="Botyard", model="sim-1")
        return Capabilities(tuple(fixed), (GOTO, STOP, PATROL), about=about)

    async def run(self, port: Port) -> None:
        clock = self.context.clock
        began, ts, tick = clock.monotonic(), clock.now(), 0
        while True:
            await self._sense(port, tick, ts + round(tick * STEP * 1e6))
            tick += 1
            wait = began + tick * STEP - clock.monotonic()
            if wait < -BEHIND:
                began, ts, tick = clock.monotonic(), clock.now(), 0
            await clock.sleep(max(0.0, wait))
            self._move()

    async def execute(self, command: Command, progress: Progress) -> dict[str, Any] | None:
        if command.name == "goto":
            return await self._goto(command.args, progress)
        if command.name == "stop":
            self._pilot.halt()
        elif command.name == "patrol":
            self._pilot.patrol = True
        else:
            raise CommandRejectedError(f"there is no command {command.name!r}")
        return None

    async def stop(self) -> None:
        self._pilot.halt()

    def halt(self) -> None:
        # In any thread; the physics are the loop's, and brake before their next step.
        self._halted.set()

    async def _goto(self, args: dict[str, Any], progress: Progress) -> dict[str, Any]:
        goal = self._pilot.place(args.get("waypoint"), args.get("x"), args.get("y"))
        name = args.get("waypoint") or f"({goal.x:.1f}, {goal.y:.1f})"
        before = self._drive.driven
        order = self._pilot.obey(name, goal)
        told = 0.0
        while not order.done.done():
            await self.context.clock.sleep(1.0)
            if order.length and (done := 1.0 - self._drive.remaining / order.length) >= told + 0.1:
                told = done
                await progress(done)
        order.done.result()
        return {"x": round(goal.x, 3), "y": round(goal.y, 3), "driven_m": round(self._drive.driven - before, 2)}

    def _move(self) -> None:
        seconds = STEP / SUBSTEPS
        if self._halted.is_set():
            self._halted.clear()
            self._pilot.halt()
        drive = self._drive
        for _ in range(SUBSTEPS):
            self._pilot.step(seconds)
            drive.step(seconds)
            for motor, side in zip(self._motors.values(), (-0.2, 0.2), strict=True):
                motor.step(drive.speed + side * drive.turning, drive.acceleration, seconds)
            self._battery.step(body.IDLE_POWER + sum(m.power for m in self._motors.values()), seconds)
        self._gripper.load = 14.0 if self._pilot.carrying else 0.0

    async def _sense(self, port: Port, tick: int, ts: int) -> None:
        rng, speed = self._rng, self._drive.speed
        fast: dict[str, Any] = {"gripper.force": round(self._gripper.force(speed, rng), 2)}
        if self._signals.names and tick % self._signal_ticks == 0:
            signals = self._signals.values(tick * STEP, rng)
            if self._signal_ticks == 1:
                fast |= signals  # channels of one rate travel together
            else:
                await port.publish(signals, ts=ts)
        await port.publish(fast, ts=ts)
        if tick % 2 == 0:
            await self._sense_motion(port, ts)
        if tick % 10 == 0:
            values: dict[str, Any] = {
                "battery.level": round(self._battery.level, 4),
                "battery.voltage": round(self._battery.voltage + rng.gauss(0.0, 0.02), 2),
                "battery.current": round(self._battery.current + rng.gauss(0.0, 0.05), 2),
                "camera.front": self._camera.picture(speed, rng),
                "wifi.signal": round(self._radio.signal(self._drive.x, self._drive.y, rng), 1),
            }
            await port.publish(values, ts=ts)
            port.update_state(
                busy=self._pilot.busy,
                doing=self._pilot.doing,
                battery=Battery(
                    values["battery.level"],
                    values["battery.voltage"],
                    values["battery.current"],
                    self._battery.charging,
                ),
            )

    async def _sense_motion(self, port: Port, ts: int) -> None:
        rng, drive = self._rng, self._drive
        moving = drive.speed > 0.0
        values: dict[str, Any] = {"speed": round(max(0.0, drive.speed + (rng.gauss(0.0, 0.01) if moving else 0.0)), 3)}
        for side, motor in self._motors.items():
            values[f"motor.{side}.temperature"] = round(motor.temperature + rng.gauss(0.0, 0.1), 2)
            values[f"motor.{side}.current"] = round(max(0.0, motor.current + rng.gauss(0.0, 0.05)), 3)
        # Localisation errs by a centimetre while the robot moves, and stays where it is while it rests.
        noise = 0.008 if moving else 0.0
        x, y = round(drive.x + rng.gauss(0.0, noise), 3), round(drive.y + rng.gauss(0.0, noise), 3)
        yaw = round(drive.yaw, 4)
        if self._with_pose:
            pose = values["pose"] = Pose(self._plan.id, x, y, yaw)
            port.update_state(pose=pose)
        if self._with_geo and self._origin is not None:
            geo = values["geo"] = self._origin.geo(x, y, yaw)
            port.update_state(geo=geo)
        await port.publish(values, ts=ts)

    def _start(self, wanted: str | None) -> str:
        if wanted is not None:
            return wanted
        places = self._roads.destinations(lambda s: s.kind == "dock") or self._roads.destinations(lambda _: True)
        return self._rng.choice(places)


def _plan_path(option: str | None, folder: Path) -> Path:
    if option is None:
        return Path(str(files("botyard_plugins") / "simulation" / "warehouse.yaml"))
    return folder / option


@hookimpl
def botyard_edge_drivers() -> Iterable[DriverSpec]:
    """The simulated robot."""
    return [
        DriverSpec("sim", "A simulated differential-drive robot on a site plan.", SimDriver, SCHEMA, hang_after=10.0)
    ]
