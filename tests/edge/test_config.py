import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from botyard_edge.config import Config, OutboxSettings, load_config, robot_schema
from botyard_edge.local.page import PageSettings
from botyard_edge.node import Backoff, RestartPolicy
from botyard_edge.recorder import RecordSettings
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
    # Whoever makes settings in code, as simulations do, says where a file may be, and opens no page unasked.
    outbox = OutboxSettings("state/r1.outbox.db")
    made = Config("r1", loaded.drivers, folder=loaded.folder, outbox=outbox, page=PageSettings())
    assert made == loaded


def test_local_page_is_where_the_file_says_or_nowhere(tmp_path: Path) -> None:
    drivers = "robot: r1\ndrivers: {sim: {}}\n"
    assert load_config(write(tmp_path, drivers + "local: {page: false}\n"), {}).page is None
    assert load_config(write(tmp_path, drivers + "local: {port: 9000}\n"), {}).page == PageSettings(port=9000)
    with pytest.raises(SettingsError, match=r"local\.host: 'robot\.local' is no IP address, expected one such as"):
        load_config(write(tmp_path, drivers + "local:\n  host: robot.local\n"), {})


def test_restart_and_recording_are_as_the_file_says(tmp_path: Path) -> None:
    text = (
        "robot: r1\n"
        "drivers:\n"
        "  sim: {restart: {min: 2, max: 5, healthy_after: 9, budget: {failures: 3, within: 60}}}\n"
        "  quiet: {type: sim, hang_after: 0}\n"
        "record: {path: '{robot}.bus', topics: ['drivers/**'], max_size: 100000}\n"
    )
    config = load_config(write(tmp_path, text), {})
    assert config.drivers[0].restart == RestartPolicy(Backoff(2, 5), 3, 60, 9)
    assert [driver.silence for driver in config.drivers] == [10.0, None], "sim declares its own"
    assert config.record == RecordSettings(tmp_path / "r1.bus", ("drivers/**",), 100_000)


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
        ("robot: r1\ndrivers:\n  simm: {}\n", "known are gpio, i2c, mavlink, replay, serial, sim; did you mean 'sim'?"),
        (
            "robot: r1\ndrivers:\n  sim:\n    options:\n      sped: 1\n",
            "robot.yaml:5: drivers.sim.options.sped: unknown key, did you mean 'speed'?",
        ),
        ("robot: r1\ndrivers:\n  replay: {}\n", 'robot.yaml:3: drivers.replay: "options" is a required property'),
        ("robot: r1\ndrivers:\n  replay: {options: {}}\n", 'drivers.replay.options: "file" is a required property'),
        (
            "robot: r1\ndrivers: {sim: {}}\nlink:\n  url: http://x\n",
            "robot.yaml:4: link.url: 'http://x' is no way",
        ),
        ("robot: r1\ndrivers: [sim]\n", "robot.yaml:2: drivers:"),
        (
            "robot: r1\ndrivers: {sim: {}}\nrecord:\n  path: a.bus\n  topics:\n    - '**'\n    - '!a*'\n",
            "robot.yaml:7: record.topics[1]: 'a*' is no pattern",
        ),
        (
            "robot: r1\ndrivers:\n  sim:\n    restart:\n      budget: 5\n",
            "robot.yaml:5: drivers.sim.restart.budget: 5 is not of type",
        ),
        ("robot: r1\ndrivers: {sim: {}}\nplugins: 5\n", "robot.yaml:3: plugins:"),
        ("robot: r1\ndrivers: {sim: {}}\nlink:\n  window: 513\n", "robot.yaml:4: link.window: 513 is greater than"),
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


@pytest.mark.parametrize(
    ("link", "line", "said"),
    [
        ("url: http://hub", 4, "link.url: 'http://hub' is no way to a hub, expected one that begins with mqtt://"),
        ("url: mqtt://me:secret@hub", 4, "link.url: credentials stand in link.username and .password"),
        ("url: 'ws://'", 4, "link.url: 'ws://' names no host"),
        ("url: ws://hub/edge/v1?robot=r1", 4, "has something after its path"),
        ("url: mqtt://hub:70000", 4, "link.url: 'mqtt://hub:70000' cannot be used: Port out of range"),
        (
            "url: mqtt://hub/mqtt",
            4,
            "link.url: 'mqtt://hub/mqtt' has a path; MQTT over WebSocket is written mqtt+ws://",
        ),
        ("url: ws://hub:9001/mqtt", 4, "link.url: 'ws://hub:9001/mqtt' is not the hub's WebSocket"),
        ("tls: {ca: none.pem}", 4, "link.tls.ca: there is no file 'none.pem'"),
        ("tls: {key: robot.yaml}", 4, "link.tls.key: there is no certificate beside it"),
        ("transports:\n  - url: mqtt://a\n  - url: mqtt://b/c", 6, "link.transports[1].url: 'mqtt://b/c' has a path"),
        ("transports:\n  - url: mqtt://a\n    pasword: x", 6, "pasword"),
    ],
)
def test_transports_that_cannot_work_are_told_with_line_and_value(
    tmp_path: Path, link: str, line: int, said: str
) -> None:
    indented = link.replace("\n", "\n  ")
    path = write(tmp_path, f"robot: r1\ndrivers: {{sim: {{}}}}\nlink:\n  {indented}\n")
    with pytest.raises(SettingsError) as caught:
        load_config(path, {})
    assert said in str(caught.value)
    assert f":{line}: " in str(caught.value)


def test_transports_take_from_the_link_what_they_do_not_say(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    text = """
robot: r1
drivers: {sim: {}}
link:
  token: abc
  keepalive: 7
  tls: {ca: ca.pem}
  transports:
    - url: mqtts://broker
      username: me
      password: secret
      mqtt_version: "5"
      tls: {}
    - url: wss://hub
      keepalive: 9
"""
    first, second = load_config(write(tmp_path, text), {}).transports
    assert (first.username, first.password, first.token) == ("me", "secret", None)
    assert (first.keepalive, first.version, first.tls.ca) == (7, "5", tmp_path / "ca.pem")
    assert (second.username, second.password, second.token) == (None, None, "abc")
    assert (second.keepalive, second.version, second.tls.ca) == (9, "auto", tmp_path / "ca.pem")
