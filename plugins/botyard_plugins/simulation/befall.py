"""Lets one fault happen to one robot, from its beginning to its end."""

import random
from collections.abc import Callable

from botyard_plugins.simulation import trouble
from botyard_plugins.simulation.network import Surroundings
from botyard_plugins.simulation.robot import SimulatedRobot
from botyard_plugins.simulation.scenario import FaultSettings
from botyard_schemas.clock import Clock

# Faults of a robot's way to the hub, and which of its properties they set. Switches are on or off.
WAYS = {
    "link_loss": "down",
    "partition": "silent",
    "latency": "latency",
    "loss": "loss",
    "duplicates": "duplicates",
    "reordering": "reordered",
}
SWITCHES = frozenset({"link_loss", "partition"})


async def befall(
    robot: SimulatedRobot,
    what: FaultSettings,
    lasts: float,
    *,
    network: Surroundings,
    clock: Clock,
    rng: Callable[[], random.Random],
) -> None:
    """It begins now, and is over after `lasts` seconds."""
    if what.fault in WAYS:
        name, value = WAYS[what.fault], what.value
        way = {name: value} if what.fault not in SWITCHES else {name: True}
        await network.meanwhile(robot.name, way | ({"jitter": what.jitter} if what.jitter else {}), lasts)
        return
    match what.fault:
        case "clock_jump":
            robot.clock.jump(what.value)
        case "clock_skew":
            robot.clock.drift(what.value)
            await clock.sleep(lasts)
            robot.clock.drift(0.0)
        case "node_crash":
            robot.trouble.crash()
        case "node_hang":
            robot.trouble.hang()
            await clock.sleep(lasts)
            robot.trouble.release()
        case "motor_stall" | "battery_failure":
            robot.trouble.afflict(what.fault, what.value)
            await clock.sleep(lasts)
            robot.trouble.afflict(what.fault, None)
        case "disk_full":
            robot.full = True
            await clock.sleep(lasts)
            robot.full = False
        case "reboot":
            network.power_off(robot.name)
            await robot.halt(within=0.0)
            await clock.sleep(lasts)
            robot.boot()
        case _:
            robot.trouble.distort(what.channel, _distortion(what, rng))
            await clock.sleep(lasts)
            robot.trouble.cure(what.channel)


def _distortion(what: FaultSettings, rng: Callable[[], random.Random]) -> trouble.Distortion:
    match what.fault:
        case "sensor_stuck":
            return trouble.stuck()
        case "sensor_drift":
            return trouble.drifting(what.value)
        case "sensor_noise":
            return trouble.noisy(what.value, rng())
    return trouble.not_a_number()
