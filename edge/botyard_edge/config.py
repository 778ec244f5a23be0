"""Settings of one robot: `robot.yaml` and the environment, checked against `robot.schema.json` and the drivers'."""

import functools
import ipaddress
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import pluggy

from botyard_edge.bus import check_pattern
from botyard_edge.driver import DriverSpec, Later
from botyard_edge.link import LinkSettings
from botyard_edge.local.page import PageSettings
from botyard_edge.node import Backoff, RestartPolicy
from botyard_edge.outbox import LIMITS, Limits
from botyard_edge.pace import Pace
from botyard_edge.plugins import build_plugin_manager, drivers, unknown_driver
from botyard_edge.recorder import RecordSettings
from botyard_edge.safety import Policy, read_policy
from botyard_edge.state import StateSettings
from botyard_edge.telemetry import BatchLimits
from botyard_edge.tls import SYSTEM, Tls
from botyard_edge.writing import GROUP, Durability
from botyard_schemas import settings
from botyard_schemas.messages import About
from botyard_schemas.settings import SettingsError
from botyard_schemas.validation import field_path

PREFIX = "BOTYARD_EDGE"
# Ways that a URL can name, and what a transport takes from the link together, unless it has one of them itself.
SCHEMES = ("mqtt", "mqtts", "mqtt+ws", "mqtt+wss", "ws", "wss")
WHO = ("username", "password", "token")


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """One way to the hub, and who asks. `version` of MQTT is `auto`, `5` or `3.1.1`; `keepalive` in seconds."""

    url: str = "mqtt://localhost:1883"
    username: str | None = None
    password: str | None = None
    token: str | None = None
    keepalive: int = 15
    version: Literal["auto", "5", "3.1.1"] = "auto"
    tls: Tls = SYSTEM


@dataclass(frozen=True, slots=True)
class DriverSettings:
    """One driver to run: its name on this robot, what it is, its options with defaults filled in, and how it is started
    again. `hang_after` in seconds is the driver's own when it is None, and 0 lets it be silent."""

    name: str
    spec: DriverSpec
    options: Mapping[str, Any]
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    hang_after: float | None = None

    @property
    def silence(self) -> float | None:
        """How many seconds of silence mean that the driver hangs; None: it may be silent."""
        return (self.spec.hang_after if self.hang_after is None else self.hang_after) or None


@dataclass(frozen=True, slots=True)
class OutboxSettings:
    """`path` of the file, relative to the folder of the settings; None keeps messages in memory alone."""

    path: str | None = None
    limits: Limits = LIMITS
    durability: Durability = GROUP


@dataclass(frozen=True, slots=True)
class CalibrationSettings:
    """`from_hub`: whether the hub may change the calibration. `versions` of each profile are kept."""

    from_hub: bool = True
    versions: int = 32


@dataclass(frozen=True, slots=True)
class Config:
    """Everything about one robot. Relative paths in driver options are relative to `folder`; times are seconds."""

    robot: str
    drivers: tuple[DriverSettings, ...]
    about: About = field(default_factory=About)
    folder: Path = Path()
    transports: tuple[TransportSettings, ...] = (TransportSettings(),)
    link: LinkSettings = field(default_factory=LinkSettings)
    telemetry: BatchLimits = field(default_factory=BatchLimits)
    state: StateSettings = field(default_factory=StateSettings)
    outbox: OutboxSettings = field(default_factory=OutboxSettings)
    record: RecordSettings | None = None
    calibration: CalibrationSettings = CalibrationSettings()
    flush_timeout: float = 3.0
    exit_when_done: bool = False
    safety: Policy | None = None  # None: the settings have no such section
    page: PageSettings | None = None  # None: there is no local page

    @property
    def dock(self) -> str | None:
        """The command that brings the robot home, of the first driver that has one."""
        return next((name for one in self.drivers if (name := one.spec.dock(one.options))), None)

    @property
    def clock_file(self) -> Path | None:
        """Where it is remembered how the clock stood in which boot: beside the outbox, if that is on disk."""
        return self._beside("clock")

    @property
    def latch_file(self) -> Path | None:
        """Where it is remembered that the robot must not move: beside the outbox, if that is on disk."""
        return self._beside("safety")

    @property
    def calibration_file(self) -> Path | None:
        """Where the calibration with its history is kept: beside the outbox, if that is on disk."""
        return self._beside("calibration")

    @property
    def lock_file(self) -> Path | None:
        """What the one process holds that may use these files: beside the outbox, if that is on disk."""
        return self._beside("lock")

    @property
    def door_file(self) -> Path | None:
        """The socket for people at the robot: beside the outbox, if that is on disk."""
        return self._beside("local.sock")

    @property
    def key_file(self) -> Path | None:
        """The key of the local page: beside the outbox, if that is on disk."""
        return self._beside("local.key")

    def _beside(self, suffix: str) -> Path | None:
        if self.outbox.path is None:
            return None
        path = self.folder / self.outbox.path
        return path.with_name(f"{path.name}.{suffix}")


@functools.cache
def robot_schema() -> dict[str, Any]:
    """The JSON Schema of `robot.yaml`. Do not change what you get."""
    text = files("botyard_edge").joinpath("robot.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def load_config(path: Path, environ: Mapping[str, str], *, plugins: pluggy.PluginManager | None = None) -> Config:
    """Read and check the settings. `plugins` None: the built-in, the installed and those that the file names.

    Raises SettingsError, whose text has a line per problem with file and line, and PluginError.
    """
    # The file is looked into before it is checked: which drivers it names decides which options are allowed.
    raw = settings.load(path, {}, environ={}, prefix=PREFIX)
    if plugins is None:
        modules = raw.get("plugins", [])
        plugins = build_plugin_manager(m for m in modules if isinstance(m, str)) if isinstance(modules, list) else None
    known = drivers(plugins) if plugins else {}
    schema = schema_with_options(raw.get("drivers"), known)
    loaded = settings.load(path, schema, environ=environ, prefix=PREFIX)
    problems = [
        f"{settings.locate(path, ('drivers', name, 'type'))}: "
        f"drivers.{name}.type: {unknown_driver(part['type'], known)}"
        for name, part in loaded["drivers"].items()
        if part["type"] not in known
    ]
    problems += _beyond_the_schema(loaded["link"], path)
    problems += _wrong_topics(loaded["record"]["topics"], path)
    problems += _wrong_host(loaded["local"]["host"], path)
    wanted = "safety" in raw or any(name.startswith(f"{PREFIX}__SAFETY__") for name in environ)
    safety, wrong = read_policy(loaded["safety"]) if wanted else (None, [])
    for keys, sentence in wrong:
        whole = ("safety", *keys)
        problems.append(f"{settings.locate(path, whole)}: {field_path(list(whole))}: {sentence}")
    problems += _wrong_nodes(safety, loaded["drivers"], path)
    if problems:
        raise SettingsError(problems)
    problems += _wrong_options(loaded["drivers"], known, path)
    problems += _no_dock(safety, loaded["drivers"], known, path)
    if problems:
        raise SettingsError(problems)
    return replace(make_config(loaded, known, path.resolve().parent), safety=safety)


def door_file(path: Path, environ: Mapping[str, str]) -> Path | None:
    """Where the robot of these settings has its local door; None: nowhere. Raises SettingsError.

    Looks at nothing else in the file: somebody who changes it and makes a mistake can still stop the robot that runs.
    """
    known = robot_schema()["properties"]
    schema = {"type": "object", "required": ["robot"], "properties": {key: known[key] for key in ("robot", "outbox")}}
    mine = tuple(f"{PREFIX}__{section}" for section in ("ROBOT", "OUTBOX"))
    environ = {name: value for name, value in environ.items() if name.startswith(mine)}
    loaded = settings.load(path, schema, environ=environ, prefix=PREFIX)
    outbox = _outbox(loaded["outbox"], loaded["robot"])
    return Config(loaded["robot"], (), folder=path.resolve().parent, outbox=outbox).door_file


def schema_with_options(named: object, known: Mapping[str, DriverSpec]) -> dict[str, Any]:
    """The schema of a `robot.yaml` that names these drivers, with each driver's own options in their place."""
    schema: dict[str, Any] = json.loads(json.dumps(robot_schema()))
    section = schema["properties"]["drivers"]
    if not isinstance(named, dict):
        return schema
    section["properties"] = {}
    for name, part in named.items():
        kind = part.get("type", name) if isinstance(part, dict) else name
        driver = json.loads(json.dumps(section["additionalProperties"]))
        driver["properties"]["type"]["default"] = name
        if isinstance(kind, str) and kind in known:
            options = known[kind].options
            if options.get("required"):
                driver["required"] = ["options"]
            driver["properties"]["options"] = dict(options) if "required" in driver else {"default": {}, **options}
        section["properties"][name] = driver
    return schema


def _ready(spec: DriverSpec) -> DriverSpec:
    """Import the driver now, and not while the robot runs."""
    if isinstance(spec.factory, Later):
        spec.factory.load()
    return spec


def make_config(loaded: dict[str, Any], known: Mapping[str, DriverSpec], folder: Path) -> Config:
    """The settings of a whole `robot.yaml` in `folder` that keeps the schema, with its defaults filled in, but for the
    section `safety`."""
    link = loaded["link"]
    return Config(
        robot=loaded["robot"],
        about=About(**loaded["about"]),
        drivers=tuple(
            DriverSettings(
                name, _ready(known[part["type"]]), part["options"], _restart(part["restart"]), part["hang_after"]
            )
            for name, part in loaded["drivers"].items()
        ),
        folder=folder,
        transports=tuple(_transport(one, link, folder) for one in link["transports"] or [link]),
        link=LinkSettings(
            heartbeat=float(link["heartbeat"]),
            reconnect=Backoff(link["reconnect_min"], max(link["reconnect_min"], link["reconnect_max"])),
            window=link["window"],
            resend_after=link["resend_after"],
            backlog=Pace(link["backlog_rate"], link["backlog_burst"]),
            time_period=link["time_period"],
            connect_within=link["connect_within"],
            return_after=link["return_after"],
        ),
        telemetry=BatchLimits(loaded["telemetry"]["max_samples"], loaded["telemetry"]["max_age"]),
        state=StateSettings(loaded["state"]["period"], loaded["state"]["max_rate"]),
        outbox=_outbox(loaded["outbox"], loaded["robot"]),
        record=_record(loaded["record"], loaded["robot"], folder),
        calibration=CalibrationSettings(loaded["calibration"]["from_hub"], loaded["calibration"]["versions"]),
        flush_timeout=loaded["shutdown"]["flush_timeout"],
        exit_when_done=loaded["exit_when_done"],
        page=PageSettings(loaded["local"]["host"], loaded["local"]["port"]) if loaded["local"]["page"] else None,
    )


def _restart(loaded: Mapping[str, Any]) -> RestartPolicy:
    return RestartPolicy(
        Backoff(loaded["min"], max(loaded["min"], loaded["max"])),
        loaded["budget"]["failures"],
        loaded["budget"]["within"],
        loaded["healthy_after"],
    )


def _transport(one: Mapping[str, Any], link: Mapping[str, Any], folder: Path) -> TransportSettings:
    """One transport; what it does not say of itself is taken from the link."""
    who = one if any(one.get(key) for key in WHO) else link
    tls = one.get("tls") or link["tls"]
    username, password, token = (who.get(key) for key in WHO)
    return TransportSettings(
        url=one["url"],
        username=username,
        password=password,
        token=token,
        keepalive=one.get("keepalive") or link["keepalive"],
        version=one.get("mqtt_version") or link["mqtt_version"],
        tls=Tls(*(folder / tls[key] if tls.get(key) else None for key in ("ca", "certificate", "key"))),
    )


def _beyond_the_schema(link: Mapping[str, Any], path: Path) -> Iterator[str]:
    """What is wrong with the transports although the schema allows it."""
    found = [(("link", "transports", index), one) for index, one in enumerate(link["transports"])]
    for keys, one in [(("link",), link), *found]:
        name = "link" if len(keys) == 1 else f"link.transports[{keys[2]}]"
        where = settings.locate(path, (*keys, "url"))
        if "@" in one["url"]:  # it may hold a password, so it is not repeated
            yield f"{where}: {name}.url: credentials stand in {name}.username and .password"
        elif trouble := _trouble_with(one["url"]):
            yield f"{where}: {name}.url: {one['url']!r} {trouble}"
        tls = one.get("tls") or {}
        if tls.get("key") and not tls.get("certificate"):
            yield f"{settings.locate(path, (*keys, 'tls', 'key'))}: {name}.tls.key: there is no certificate beside it"
        for key in ("ca", "certificate", "key"):
            if tls.get(key) and not (path.resolve().parent / tls[key]).is_file():
                yield f"{settings.locate(path, (*keys, 'tls', key))}: {name}.tls.{key}: there is no file {tls[key]!r}"


def _wrong_nodes(safety: Policy | None, named: Mapping[str, Any], path: Path) -> Iterator[str]:
    known = [f"driver.{name}" for name in named]
    for name in sorted(safety.watchdogs.required - set(known)) if safety else ():
        where = settings.locate(path, ("safety", "watchdogs", "required_nodes"))
        said = f"{name!r} is no driver of this robot, known are {', '.join(known)}"
        yield f"{where}: safety.watchdogs.required_nodes: {said}"


def _no_dock(
    safety: Policy | None, named: Mapping[str, Mapping[str, Any]], known: Mapping[str, DriverSpec], path: Path
) -> Iterator[str]:
    if safety is None or safety.watchdogs.link != "return_to_dock":
        return
    if not any(known[part["type"]].dock(part["options"]) for part in named.values()):
        where = settings.locate(path, ("safety", "watchdogs", "link_lost"))
        said = "no driver of this robot can dock; expected continue, stop, finish_step or finish_mission"
        yield f"{where}: safety.watchdogs.link_lost: 'return_to_dock': {said}"


def _wrong_topics(topics: Sequence[str], path: Path) -> Iterator[str]:
    for index, topic in enumerate(topics):
        try:
            check_pattern(topic.removeprefix("!"))
        except ValueError as error:
            yield f"{settings.locate(path, ('record', 'topics', index))}: record.topics[{index}]: {error}"


def _wrong_host(host: str, path: Path) -> Iterator[str]:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        where = settings.locate(path, ("local", "host"))
        yield f"{where}: local.host: {host!r} is no IP address, expected one such as '127.0.0.1'"


def _record(loaded: Mapping[str, Any], robot: str, folder: Path) -> RecordSettings | None:
    if loaded["path"] is None:
        return None
    return RecordSettings(
        folder / loaded["path"].replace("{robot}", robot), tuple(loaded["topics"]), loaded["max_size"]
    )


def _wrong_options(
    named: Mapping[str, Mapping[str, Any]], known: Mapping[str, DriverSpec], path: Path
) -> Iterator[str]:
    """What the drivers find wrong with their options, or else channels that two of them want to publish."""
    wrong = False
    for name, part in named.items():
        for keys, sentence in known[part["type"]].check(part["options"]):
            wrong = True
            yield _said_of_option(path, name, keys, sentence)
    if wrong:
        return
    owners: dict[str, str] = {}
    for name, part in named.items():
        for keys, channel in known[part["type"]].channels(part["options"]):
            where = field_path(["drivers", name, "options", *keys])
            if channel in owners:
                sentence = f"channel {channel!r} is published by {owners[channel]} already; give one another name"
                yield _said_of_option(path, name, keys, sentence)
            owners.setdefault(channel, where)


def _said_of_option(path: Path, name: str, keys: settings.Keys, sentence: str) -> str:
    whole = ("drivers", name, "options", *keys)
    return f"{settings.locate(path, whole)}: {field_path(list(whole))}: {sentence}"


def _trouble_with(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"cannot be used: {error}"
    if parts.scheme not in SCHEMES:
        return f"is no way to a hub, expected one that begins with {', '.join(f'{name}://' for name in SCHEMES)}"
    if not re.fullmatch(r"[A-Za-z0-9._:-]+", parts.hostname or "") or port == 0:
        return "names no host, or an impossible one"
    if parts.query or parts.fragment:
        return "has something after its path, which nobody would read"
    if parts.scheme in ("mqtt", "mqtts") and parts.path.strip("/"):
        return "has a path; MQTT over WebSocket is written mqtt+ws:// or mqtt+wss://"
    if parts.scheme in ("ws", "wss") and parts.path.strip("/") and not parts.path.endswith("/edge/v1"):
        return "is not the hub's WebSocket, which ends in /edge/v1; MQTT over WebSocket is written mqtt+ws://"
    return None


def _outbox(loaded: dict[str, Any], robot: str) -> OutboxSettings:
    path = loaded["path"]
    return OutboxSettings(
        path=None if path in (None, "memory") else path.replace("{robot}", robot),
        limits=Limits(loaded["max_messages"], loaded["max_bytes"], loaded["max_age"], loaded["thin"]),
        durability=Durability(loaded["durability"], loaded["group_interval"]),
    )
