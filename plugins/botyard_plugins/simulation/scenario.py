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
from botyard_edge.safety import read_policy
from botyard_schemas import settings
from botyard_schemas.settings import SettingsError, fill_defaults, locate
from botyard_schemas.validation import field_path

# Faults that a robot without a disk does not survive without losing what it has not sent.
NEEDS_DISK = frozenset({"reboot"})

# What a scenario says of its robots as `robot.yaml` would, and where it differs in what is usual.
SECTIONS = ("telemetry", "state", "link", "outbox", "safety", "shutdown")
DIFFERENT: tuple[tuple[str, str, Any], ...] = (
    ("outbox", "path", None),
    ("outbox", "durability", "each"),
    ("shutdown", "flush_timeout", None),
)
# Seconds that a robot's driver computes and publishes at once, and how many where limits are watched meanwhile.
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


class Scenario(msgspec.Struct, frozen=True):
    """What a fleet is and what goes wrong with it."""

    name: str = ""
    robots: int = 10
    seconds: float = 60.0
    settle: float = 120.0
    options: dict[str, Any] = {}
    robot: dict[str, Any] = {}
    faults: list[FaultSettings] = []


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
    for index, line in enumerate(scenario.faults):
        for number in line.robots if isinstance(line.robots, list) else ():
            if number > scenario.robots:
                where = locate(path, ("faults", index, "robots"))
                wrong.append(f"{where}: there is no robot {number}, expected 1 to {scenario.robots}")
        if line.at is not None and line.at >= scenario.seconds:
            where = locate(path, ("faults", index, "at"))
            wrong.append(f"{where}: {line.at:g} is after the end, expected less than {scenario.seconds:g} seconds")
    if wrong:
        raise SettingsError(wrong)
    return scenario


def settings_of_robots(scenario: Scenario, folder: Path) -> Config:
    """What all robots have in common: settings without a name and without drivers."""
    safety = read_policy(scenario.robot.get("safety"))[0] if "safety" in scenario.robot else None
    sections = copy.deepcopy(scenario.robot)
    fill_defaults(sections, schema()["properties"]["robot"])
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


def faults(scenario: Scenario, rng: random.Random) -> list[Fault]:
    """All faults in the order of their beginning. None lasts longer than the scenario."""
    found = [
        Fault(at, min(at + line.lasts, scenario.seconds), robot, line)
        for line in scenario.faults
        for at in _moments(line, scenario.seconds, rng)
        for robot in _chosen(line.robots, scenario.robots, rng)
    ]
    return sorted(found, key=lambda fault: (fault.at, fault.robot))


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
