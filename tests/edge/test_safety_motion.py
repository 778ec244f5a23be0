"""Limits against what is measured: a robot with real inertia that is stopped before it leaves its area, one that is
faster than it may be, and what becomes of a robot whose hub is away.
"""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from botyard_edge.config import Config, DriverSettings, OutboxSettings
from botyard_edge.driver import (
    Capabilities,
    Channel,
    Command,
    CommandFailedError,
    CommandSpec,
    DriverSpec,
    Motion,
    Pose,
    Progress,
)
from botyard_edge.memory import MemoryOutbox
from botyard_edge.runtime import Runtime
from botyard_edge.safety import ClearRefusedError, SafetyNode
from botyard_edge.safety.policy import Area, Limits, Policy, Stopping, Watchdogs
from botyard_edge.testing import VirtualClock
from botyard_schemas import Event, State

from .conftest import Script, World

Scripted = Callable[..., Config]
DRIVE = CommandSpec("drive", args={"type": "object"}, motion=Motion("velocity", linear=("x", "y")))
GOTO = CommandSpec("goto", args={"type": "object"}, motion=Motion("goal"))
HOME = CommandSpec("home", motion=Motion("goal"))
LAMP = CommandSpec("lamp", args={"type": "object"}, motion=Motion("none"))
CAN = Capabilities((Channel("speed", unit="km/h"),), (DRIVE, GOTO, HOME, LAMP))
STEP, PERIOD, DECELERATION = 0.01, 0.1, 0.8


class Base(Script):
    """A body with inertia: it gains and sheds speed with `DECELERATION`, and tells its place every `PERIOD` seconds."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.at = [3.0, 3.0]
        self.velocity = [0.0, 0.0]
        self.wanted = [0.0, 0.0]
        self.deaf = False
        self.farthest = list(self.at)
        self.homeward = "home"
        self.did: list[str] = []

    async def run(self, port: Any) -> None:
        for tick in range(1_000_000):
            if tick % round(PERIOD / STEP) == 0:
                await port.publish({"speed": math.hypot(*self.velocity) * 3.6})
                port.update_state(pose=Pose("hall", self.at[0], self.at[1], 0.0))
            await self.context.clock.sleep(STEP)
            self.move()

    def move(self) -> None:
        lack = [wanted - now for wanted, now in zip(self.wanted, self.velocity, strict=True)]
        share = min(1.0, DECELERATION * STEP / max(1e-9, math.hypot(*lack)))
        self.velocity = [now + share * part for now, part in zip(self.velocity, lack, strict=True)]
        self.at = [at + part * STEP for at, part in zip(self.at, self.velocity, strict=True)]
        self.farthest = [max(one, other) for one, other in zip(self.farthest, self.at, strict=True)]

    async def execute(self, command: Command, progress: Progress) -> None:
        self.did.append(command.name)
        if command.name == "drive":
            self.wanted = [command.args["x"], command.args["y"]]
        elif command.name in ("goto", "lamp"):
            await self.context.clock.sleep(20.0)
        elif command.name == "home":
            await self.context.clock.sleep(30.0)
            if self.homeward != "home":
                raise CommandFailedError(self.homeward)

    async def stop(self) -> None:
        self.did.append("stop")
        self.brake()

    def halt(self) -> None:
        self.did.append("halt")
        self.brake()

    def brake(self) -> None:
        if not self.deaf:
            self.wanted = [0.0, 0.0]


def mode_of(runtime: Runtime) -> str:
    return runtime.safety.mode


class Robot:
    """One that runs, with the hub's side of it."""

    def __init__(self, world: World, scripted: Scripted, policy: Policy) -> None:
        self.world = world
        self.made: list[Base] = []

        def make(context: Any) -> Base:
            self.made.append(Base(context, lambda *_: None, CAN))
            return self.made[-1]

        spec = DriverSpec("base", "", make, {}, dock=lambda _: "home")
        self.config = Config("r1", (DriverSettings("base", spec, {}),), safety=policy)
        self.count = 0

    @property
    def base(self) -> Base:
        return self.made[-1]

    async def send(self, name: str, **args: float) -> None:
        self.count += 1
        self.world.hub.command("r1", Command(f"c{self.count}", name, self.world.clock.now() + 10**9, args))
        await self.world.clock.advance(0.01)

    @property
    def events(self) -> list[str]:
        return [event.name for event in self.world.hub.bodies("r1", Event) if event.name.startswith("safety.")]


FENCE = Area((((0, 0), (10, 0), (10, 10), (0, 10)),))
STOPPING = Stopping(DECELERATION, 3 * PERIOD, DECELERATION)


@pytest.mark.parametrize("speed", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("direction", [(1.0, 0.0), (0.6, 0.8)])
async def test_robot_is_stopped_so_early_that_it_never_leaves_the_geofence(
    speed: float, direction: tuple[float, float], world: World, scripted: Scripted
) -> None:
    policy = Policy(Limits(geofence=FENCE), speeds=frozenset({"speed"}), stopping=STOPPING)
    robot = Robot(world, scripted, policy)
    async with world.running(robot.config) as runtime:
        await robot.send("drive", x=speed * direction[0], y=speed * direction[1])
        await world.clock.advance(40)
        assert robot.base.velocity == [0.0, 0.0]
        assert 10.0 - STOPPING.distance(speed) < max(robot.base.farthest) <= 10.0
        for _ in range(5):  # who asks again and again gets to the edge, and from there no farther
            await robot.send("drive", x=speed * direction[0], y=speed * direction[1])
            await world.clock.advance(5)
        assert max(robot.base.farthest) <= 10.02
        said = next(event.message for event in world.hub.bodies("r1", Event) if event.name == "safety.safe")
        assert "which would take it out of the geofence" in str(said)
        if runtime.safety.core.causes.level is None:  # inside, it may be driven away
            await robot.send("drive", x=-speed * direction[0], y=-speed * direction[1])
            await world.clock.advance(1)
            assert robot.base.velocity[0] < 0.0


async def test_robot_is_stopped_before_a_keep_out_zone_and_passes_beside_it(world: World, scripted: Scripted) -> None:
    zone = Area((((7, 4), (8, 4), (8, 6), (7, 6)),))
    robot = Robot(world, scripted, Policy(Limits(keep_out=zone), stopping=STOPPING))
    async with world.running(robot.config):
        robot.base.at = [3.0, 5.0]
        await world.clock.advance(5)
        await robot.send("drive", x=1.5, y=0.0)
        await world.clock.advance(10)
        assert 5.0 < robot.base.at[0] < 7.0
        robot.base.at = [3.0, 6.5]
        await world.clock.advance(5)
        await robot.send("drive", x=1.5, y=0.0)
        await world.clock.advance(8)
        assert robot.base.at[0] > 10.0


async def test_robot_that_is_faster_than_it_may_be_is_halted_and_looked_at_first(
    world: World, scripted: Scripted
) -> None:
    robot = Robot(world, scripted, Policy(Limits(max_speed=1.0), speeds=frozenset({"speed"})))
    async with world.running(robot.config) as runtime:
        await robot.send("drive", x=1.0, y=0.0)
        robot.base.wanted = [1.05, 0.0]  # what a controller overshoots
        await world.clock.advance(3)
        assert mode_of(runtime) == "auto"
        robot.base.wanted = [1.2, 0.0]  # downhill
        robot.base.deaf = True
        await world.clock.advance(3)
        assert "halt" in robot.base.did
        assert str(runtime.safety.reason).endswith("above max_speed (1 m/s)")
        with pytest.raises(ClearRefusedError):
            runtime.safety.clear("Kim")
        robot.base.wanted = [0.0, 0.0]
        await world.clock.advance(3)
        assert mode_of(runtime) == "safe"
        runtime.safety.clear("Kim")
        assert (robot.events, runtime.safety.core.causes.level) == (["safety.safe", "safety.cause_gone"], None)


async def test_command_is_refused_until_the_speed_has_been_heard(world: World) -> None:
    node = SafetyNode(Policy(Limits(max_speed=1.0), speeds=frozenset({"speed"})), clock=VirtualClock())
    command = Command("c1", "goto", node._clock.now() + 10**9)
    refused = node.judge(command, GOTO, lambda _: None).report
    assert refused is not None
    assert refused.reason == "nothing has been heard of speed yet, so its limit cannot be kept"


# --- the hub is away


def without(link: Any) -> Policy:
    return Policy(watchdogs=Watchdogs(link=link, link_timeout=3.0))


async def test_finish_mission_lets_all_that_was_accepted_end_and_a_drivers_own_mission_too(
    world: World, scripted: Scripted
) -> None:
    robot = Robot(world, scripted, without("finish_mission"))
    async with world.running(robot.config) as runtime:
        await robot.send("lamp")  # moves nothing, and takes 20 s
        world.broker.cut(down=True)
        await world.clock.advance(19)
        assert mode_of(runtime) == "auto", "finish_step would be in safe mode by now"
        runtime.safety.heard("base", {"busy": True})
        await world.clock.advance(30)
        assert mode_of(runtime) == "auto"
        runtime.safety.heard("base", {"busy": False})
        await world.clock.advance(0.1)
        assert runtime.safety.reason == "there has been no connection to the hub for 3 s"
        world.broker.down = False
        await world.clock.advance(60)
        assert mode_of(runtime) == "auto"


async def test_return_to_dock_stops_drives_home_and_is_safe_there(world: World, scripted: Scripted) -> None:
    robot = Robot(world, scripted, without("return_to_dock"))
    async with world.running(robot.config) as runtime:
        await robot.send("goto")
        world.broker.cut(down=True)
        await world.clock.advance(5)
        assert robot.base.did == ["goto", "stop", "home"]
        assert mode_of(runtime) == "auto"
        await world.clock.advance(30)
        assert runtime.safety.reason == (
            "there has been no connection to the hub for 3 s; the robot has returned to its dock"
        )
        await world.clock.advance(600)
        assert robot.base.did.count("home") == 1
        world.broker.down = False
        await world.clock.advance(60)
        assert mode_of(runtime) == "auto"
        world.broker.cut(down=True)
        await world.clock.advance(10)
        assert robot.base.did.count("home") == 2, "the next time again"
        world.broker.down = False
        await world.clock.advance(60)
    assert robot.events[:3] == ["safety.returning", "safety.safe", "safety.cause_gone"]
    assert {state.mode for state in world.hub.bodies("r1", State)} == {"auto", "safe"}


@pytest.mark.parametrize("trouble", ["the way is blocked", "stopped"])
async def test_robot_that_cannot_dock_is_safe_where_it_is(trouble: str, world: World, scripted: Scripted) -> None:
    robot = Robot(world, scripted, without("return_to_dock"))
    async with world.running(robot.config) as runtime:
        world.broker.cut(down=True)
        await world.clock.advance(5)
        robot.base.homeward = trouble
        if trouble == "stopped":
            runtime.safety.estop("Kim")
            await world.clock.advance(1)
            runtime.safety.clear("Kim")
            await world.clock.advance(1)
            assert runtime.safety.reason is not None
            assert "it could not dock: cancelled: Kim" in runtime.safety.reason
        else:
            await world.clock.advance(30)
            assert runtime.safety.reason is not None
            assert "it could not dock: failed: the way is blocked" in runtime.safety.reason
        assert mode_of(runtime) == "safe"


@pytest.mark.parametrize("trouble", ["the way is blocked", "home", "orderly end"])
async def test_robot_that_is_restarted_while_its_hub_is_away_does_not_set_out_again(
    trouble: str, world: World, scripted: Scripted, tmp_path: Path
) -> None:
    robot = Robot(world, scripted, without("return_to_dock"))
    robot.config = replace(robot.config, folder=tmp_path, outbox=OutboxSettings("out.db"))

    def outbox() -> MemoryOutbox:
        return MemoryOutbox("r1", clock=world.clock, rng=random.Random(world.clock.now()))

    async with world.running(robot.config, outbox=outbox()) as runtime:
        world.broker.cut(down=True)
        await world.clock.advance(5)
        robot.base.homeward = "home" if trouble == "orderly end" else trouble
        if trouble != "orderly end":
            await world.clock.advance(30)
            assert mode_of(runtime) == "safe"
    async with world.running(robot.config, outbox=outbox()) as runtime:
        await world.clock.advance(60)
        assert "home" not in robot.base.did
        became = {
            "home": "the robot has returned to its dock",
            "orderly end": "it could not dock: cancelled: ",
        }
        expected = became.get(trouble, f"it could not dock: failed: {trouble}")
        assert f"there has been no connection to the hub for 3 s; {expected}" in str(runtime.safety.reason)
        world.broker.down = False
        await world.clock.advance(60)
        assert mode_of(runtime) == "auto"
    async with world.running(robot.config, outbox=outbox()) as runtime:
        await world.clock.advance(5)
        world.broker.cut(down=True)
        await world.clock.advance(10)
        assert robot.base.did.count("home") == 1, "that is another outage"


async def test_finish_mission_does_not_end_the_mission_of_a_driver_that_starts_late(
    world: World, scripted: Scripted
) -> None:
    node = SafetyNode(without("finish_mission"), clock=world.clock)
    node.linked(False, world.clock.monotonic())

    async def later(seconds: float) -> str:
        await world.clock.advance(seconds)
        node.tick(world.clock.now())
        return node.mode

    assert await later(2.5) == "auto"
    node.node("driver.base", "running", None)
    assert await later(2.5) == "auto", "it has not said yet whether it is busy"
    node.heard("base", {"busy": True})
    assert await later(60) == "auto"
    node.heard("base", {"busy": False})
    assert await later(0.1) == "safe"
    node.linked(True, world.clock.monotonic())
    node.linked(False, world.clock.monotonic())
    assert await later(2.0) == "auto"
    node.node("driver.base", "backoff", "it broke")
    node.node("driver.base", "running", None)
    assert await later(1.0) == "safe", "one that begins again and again puts nothing off"


async def test_robot_that_may_not_move_does_not_go_home_either(world: World, scripted: Scripted) -> None:
    robot = Robot(world, scripted, without("return_to_dock"))
    async with world.running(robot.config) as runtime:
        runtime.safety.estop("Kim")
        world.broker.cut(down=True)
        await world.clock.advance(60)
        assert "home" not in robot.base.did
        assert mode_of(runtime) == "estop"
