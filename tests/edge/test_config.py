import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from botyard_edge.config import Config, OutboxSettings, load_config, robot_schema
from botyard_schemas.settings import SettingsError

EXAMPLE = Path(__file__).parents[2] / "edge" / "robot.example.yaml"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "robot.yaml"
    path.write_text(text)
    return path


def test_example_is_valid_and_says_the_defaults() -> None:
    config = load_config(EXAMPLE, {})
    assert config.robot == "picker-7"
    assert config.drivers[0].options["speed"] == 1.2
    assert config.drivers[0].options["acceleration"] == 0.5
    assert config.link.heartbeat == 5.0


def test_example_stands_by_the_defaults(tmp_path: Path) -> None:
    short = load_config(write(tmp_path, "robot: picker-7\ndrivers: {sim: {}}\n"), {})
    long = load_config(EXAMPLE, {})
    for part in ("transports", "link", "telemetry", "state", "outbox", "flush_timeout", "exit_when_done"):
        assert getattr(short, part) == getattr(long, part), part


def test_defaults_in_code_are_those_of_the_schema(tmp_path: Path) -> None:
    loaded = load_config(write(tmp_path, "robot: r1\ndrivers: {sim: {}}\n"), {})
    # Whoever makes settings in code, as simulations do, says where a file may be.
    made = Config("r1", loaded.drivers, folder=loaded.folder, outbox=OutboxSettings("state/r1.outbox.db"))
    assert made == loaded


def test_environment_wins_over_the_file_down_to_driver_options(tmp_path: Path) -> None:
    path = write(tmp_path, "robot: r1\ndrivers: {base: {type: sim}}\nlink: {token: abc}\n")
    environ = {"BOTYARD_EDGE__LINK__URL": "mqtt://hub:2883", "BOTYARD_EDGE__DRIVERS__BASE__OPTIONS__SPEED": "2"}
    config = load_config(path, environ)
    assert [(one.url, one.token) for one in config.transports] == [("mqtt://hub:2883", "abc")]
    assert config.drivers[0].options["speed"] == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("robot: 'a b'\ndrivers: {sim: {}}\n", 'robot.yaml:1: robot: "a b" does not match'),
        ("robot: r1\n", '"drivers" is a required property'),
        (
            "robot: r1\ndrivers:\n  base:\n    type: simm\n",
            "robot.yaml:4: drivers.base.type: no plugin brings a driver",
        ),
        ("robot: r1\ndrivers:\n  simm: {}\n", "known are replay, sim; did you mean 'sim'?"),
        (
            "robot: r1\ndrivers:\n  sim:\n    options:\n      sped: 1\n",
            "robot.yaml:5: drivers.sim.options.sped: unknown key, did you mean 'speed'?",
        ),
        ("robot: r1\ndrivers:\n  replay: {}\n", 'robot.yaml:3: drivers.replay: "options" is a required property'),
        ("robot: r1\ndrivers:\n  replay: {options: {}}\n", 'drivers.replay.options: "file" is a required property'),
        (
            "robot: r1\ndrivers: {sim: {}}\nlink:\n  url: http://x\n",
            'robot.yaml:4: link.url: "http://x" does not match',
        ),
        ("robot: r1\ndrivers: [sim]\n", "robot.yaml:2: drivers:"),
        ("robot: r1\ndrivers: {sim: {}}\nplugins: 5\n", "robot.yaml:3: plugins:"),
    ],
)
def test_mistake_in_the_file_is_said_with_line_key_and_expectation(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_config(write(tmp_path, text), {})
    assert problem in str(caught.value)


def _parts(schema: dict[str, Any], path: str = "") -> Any:
    for key, part in schema.get("properties", {}).items():
        yield f"{path}{key}", part
        yield from _parts(part, f"{path}{key}.")
    if isinstance(extra := schema.get("additionalProperties"), dict):
        yield f"{path}*", extra
        yield from _parts(extra, f"{path}*.")


def test_every_key_is_described_with_an_example_that_is_valid() -> None:
    schema = robot_schema()
    Draft202012Validator.check_schema(schema)
    parts = list(_parts(schema))
    assert len(parts) > 30
    for name, part in [*parts, ("robot.yaml", schema)]:
        assert part.get("title"), name
        assert part.get("description"), name
        assert part.get("examples"), name
        for example in part["examples"]:
            Draft202012Validator(part).validate(example)


def test_defaults_are_valid_themselves() -> None:
    for _, part in _parts(robot_schema()):
        if "default" in part:
            Draft202012Validator(part).validate(json.loads(json.dumps(part["default"])))
