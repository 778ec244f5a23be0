"""Scenarios: YAML files that say what a fleet is and what goes wrong with it, and the faults that come of it."""

import copy
import functools
import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from botyard_edge.config import Config, make_config, robot_schema
from botyard_edge.driver import DriverSpec
from botyard_edge.safety import NO_POLICY, read_policy
from botyard_plugins.simulation.witness import MotionLimits
from botyard_plugins.simulation.zones import zones_of
from botyard_schemas import settings
from botyard_schemas.settings import SettingsError, fill_defaults, locate
from botyard_schemas.validation import field_path

# Faults of a disk, or that a robot without one does not survive without losing what it has not sent.
NEEDS_DISK = frozenset({"reboot", "disk_full"})

# What a scenario says of its robots as `robot.yaml` would, and where it differs in what is usual.
SECTIONS = ("telemetry", "state", "link", "outbox", "safety", "shutdown")
DIFFERENT: tuple[tuple[str, str, Any], ...] = (
    ("outbox", "path", None),
    ("outbox", "durability", "each"),
    ("shutdown", "flush_timeout", None),
)

# The highest angular speed of the driver `sim`, rad/s.
TURN_SPEED = 1.2
# Seconds that a driver computes and publishes at once, and how many where limits are watched meanwhile.
BLOCK, WATCHED_BLOCK = 5.0, 0.2


class FaultSettings(msgspec.Struct, frozen=True, rename={"lasts": "for"}):
    """A line of the scenario; see scenario.schema.json."""

    fault: str
    at: float | None = None
    lasts: float = 10.0
    every: float | None = None
    robots: list[int] | float = 1.0
    value: float = 0.5
    jitter: float = 0.0
    channel: str = "gripper.force"


class CommandSettings(msgspec.Struct, frozen=True, rename={"lasts": "for"}):
    """A line of the scenario's commands; see scenario.schema.json."""

    command: str
    at: float
    args: dict[str, Any] = {}
    lasts: float = 10.0
    every: float | None = None
    expires: float = 30.0
    robots: list[int] | float = 1.0


class Scenario(msgspec.Struct, frozen=True):
    """What a fleet is and what goes wrong with it."""

    name: str = ""
    robots: int = 10
    seconds: float = 60.0
    settle: float = 120.0
    options: dict[str, Any] = {}
    robot: dict[str, Any] = {}
    faults: list[FaultSettings] = []
    commands: list[CommandSettings] = []


class Fault(NamedTuple):
    """One fault of one robot: from `at` to `until`, in seconds after the beginning."""

    at: float
    until: float
    robot: int
    what: FaultSettings


@functools.cache
def schema() -> Mapping[str, Any]:
    """The schema of scenario files, with the robot's sections in their place."""
    found: dict[str, Any] = json.loads(files(__package__).joinpath("scenario.schema.json").read_text("utf-8"))
    sections = json.loads(json.dumps(robot_schema()))["properties"]
    for section, key, default in DIFFERENT:
        sections[section]["properties"][key]["default"] = default
    robot = found["properties"]["robot"]
    robot["properties"] = {name: sections[name] for name in SECTIONS}
    robot["additionalProperties"] = False
    return found


def load(path: Path, **changes: Any) -> Scenario:
    """The scenario in a file, with some values changed. Raises SettingsError, whose sentences name file and line."""
    asked = settings.load(path, {}, environ={}).get("robot", {})
    found = {**settings.load(path, schema(), environ={}), **changes}
    if "safety" not in asked:  # without the section nothing is limited, with an empty one something is
        del found["robot"]["safety"]
    scenario = msgspec.convert(found, Scenario)
    wrong = [
        f"{locate(path, ('robot', 'safety', *keys))}: {field_path(['robot', 'safety', *keys])}: {sentence}"
        for keys, sentence in read_policy(scenario.robot.get("safety"))[1]
    ]
    lines: list[tuple[str, int, FaultSettings | CommandSettings]] = []
    lines += [("faults", index, fault) for index, fault in enumerate(scenario.faults)]
    lines += [("commands", index, command) for index, command in enumerate(scenario.commands)]
    for section, index, line in lines:
        for number in line.robots if isinstance(line.robots, list) else ():
            if number > scenario.robots:
                where = locate(path, (section, index, "robots"))
                wrong.append(f"{where}: there is no robot {number}, expected 1 to {scenario.robots}")
        if line.at is not None and line.at >= scenario.seconds:
            where = locate(path, (section, index, "at"))
            wrong.append(f"{where}: {line.at:g} is after the end, expected less than {scenario.seconds:g} seconds")
    if wrong:
        raise SettingsError(wrong)
    return scenario


def settings_of_robots(scenario: Scenario, folder: Path) -> Config:
    """What all robots have in common: settings without a name and without drivers."""
    sections = copy.deepcopy(scenario.robot)
    fill_defaults(sections, schema()["properties"]["robot"])
    safety = read_policy(sections["safety"])[0] if "safety" in scenario.robot else None
    whole: dict[str, Any] = {"robot": "robot", "drivers": {}, **sections}
    whole["shutdown"]["flush_timeout"] = whole["shutdown"]["flush_timeout"] or scenario.settle
    del whole["safety"]
    fill_defaults(whole, robot_schema())
    return replace(make_config(whole, {}, folder), safety=safety, page=None)


def options_of_robots(scenario: Scenario, plan: Path, spec: DriverSpec) -> dict[str, Any]:
    """The options of each robot's driver."""
    block = WATCHED_BLOCK if "safety" in scenario.robot else BLOCK
    options = {"plan": str(plan), "block": block, **scenario.options}
    fill_defaults(options, spec.options)
    return options


def limits_of_robots(settings: Config, options: Mapping[str, Any]) -> MotionLimits:
    """What no robot may exceed: its own limits, and those that its safety node has to keep."""
    safe = settings.safety.limits if settings.safety is not None else None
    speed, acceleration = options["speed"], options["acceleration"]
    if safe is not None:
        speed = min(speed, safe.max_speed or speed)
        acceleration = min(acceleration, safe.max_acceleration or acceleration)
    turning = safe.max_angular_speed if safe is not None else None
    heaviest = 1.0 + options["payload"] / 40.0
    policy = settings.safety or NO_POLICY
    return MotionLimits(
        speed,
        acceleration,
        turning or TURN_SPEED,
        heaviest,
        zones_of(policy.limits, kept=policy.stopping is not None),
        policy.watchdogs.command_timeout or math.inf,
    )


def faults(scenario: Scenario, rng: random.Random) -> list[Fault]:
    """All faults in the order of their beginning. None lasts longer than the scenario."""
    found = [
        Fault(at, min(at + line.lasts, scenario.seconds), robot, line)
        for line in scenario.faults
        for at in _moments(line, scenario.seconds, rng)
        for robot in _chosen(line.robots, scenario.robots, rng)
    ]
    return sorted(found, key=lambda fault: (fault.at, fault.robot))


class Errand(NamedTuple):
    """One command to one robot, in seconds after the beginning."""

    at: float
    robot: int
    what: CommandSettings


def commands(scenario: Scenario, rng: random.Random) -> list[Errand]:
    """All commands in the order of their time."""
    found = []
    for line in scenario.commands:
        end = min(line.at + line.lasts, scenario.seconds)
        count = 1 if line.every is None else max(1, math.ceil((end - line.at) / line.every))
        robots = _chosen(line.robots, scenario.robots, rng)
        found += [Errand(line.at + n * (line.every or 0.0), robot, line) for n in range(count) for robot in robots]
    return sorted(found, key=lambda errand: (errand.at, errand.robot))


def _moments(line: FaultSettings, seconds: float, rng: random.Random) -> Sequence[float]:
    first = rng.uniform(0.0, seconds) if line.at is None else line.at
    if line.every is None:
        return [first]
    moments, at = [], first if line.at is not None else rng.expovariate(1.0 / line.every)
    while at < seconds:
        moments.append(at)
        at += line.lasts + rng.expovariate(1.0 / line.every)
    return moments


def _chosen(robots: Sequence[int] | float, count: int, rng: random.Random) -> Sequence[int]:
    if not isinstance(robots, float | int):
        return robots
    return sorted(rng.sample(range(1, count + 1), max(1, math.floor(robots * count))))
