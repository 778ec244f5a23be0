"""The hub's configuration, typed."""

import datetime as dt
import functools
import ipaddress
import json
import os
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from botyard.store.factory import wrong_with
from botyard_schemas import settings

_SIZE = re.compile(r"([0-9]{1,16}(?:\.[0-9]{1,6})?) ?(?:([kKMGT]?)(i?)B)?")
SMALLEST, LARGEST = 10**6, 10**15

Role = Literal["ingest", "web", "scheduler"]


class WebConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the API and the dashboard are served."""

    host: str = "127.0.0.1"
    port: int = 8080
    allowed_hosts: list[str] = []
    trust_loopback: bool = True


class BrokerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Which broker is used: the embedded one at host and port when `url` is None."""

    url: str | None = None
    ca: str | None = None
    host: str = "127.0.0.1"
    port: int = 1883
    websocket_port: int | None = None


class Keep(msgspec.Struct, frozen=True, kw_only=True):
    """How long a class of data is kept, and how much of it; None: for ever, and all."""

    days: float | None = None
    bytes: int | None = None


class KeepConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of each class of data."""

    telemetry: Keep = Keep()
    rollups_minute: Keep = Keep()
    rollups_hour: Keep = Keep()
    events: Keep = Keep()
    reports: Keep = Keep()
    quarantine: Keep = Keep()


class StoreConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Which database is used: SQLite in the data folder when `url` is None."""

    url: str | None = None
    quarantine_limit: int = 1000
    keep: KeepConfig = KeepConfig()


class FleetConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Which robots take part; `offline_after` in seconds."""

    auto_accept: bool = True
    sites: list[str] = []
    offline_after: float = 30


class IngestConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Limits in bytes, seconds and samples; `oldest` is an ISO date."""

    max_message_bytes: int = 262144
    max_future: float = 3600
    oldest: str = "2015-01-01"
    batch_age: float = 0.05
    batch_samples: int = 50_000

    @property
    def oldest_us(self) -> int:
        """`oldest` in microseconds since 1970."""
        day = dt.datetime.fromisoformat(self.oldest).replace(tzinfo=dt.UTC)
        return int(day.timestamp()) * 1_000_000


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set. `base` is the folder that relative paths start at."""

    base: Path = Path()
    data_dir: str = "data"
    roles: tuple[Role, ...] = ("ingest", "web", "scheduler")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    plugins: list[str] = []
    web: WebConfig = WebConfig()
    broker: BrokerConfig = BrokerConfig()
    store: StoreConfig = StoreConfig()
    fleet: FleetConfig = FleetConfig()
    ingest: IngestConfig = IngestConfig()

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.base / self.data_dir

    @property
    def store_url(self) -> str:
        """The database's URL; a relative SQLite file is in the data folder."""
        url = self.store.url or "sqlite:///botyard.db"
        prefix = "sqlite:///"
        if url.startswith(prefix) and not url.startswith(prefix + "/"):
            return f"{prefix}{(self.data / url.removeprefix(prefix)).absolute()}"
        return url


@functools.cache
def config_schema() -> dict[str, Any]:
    """The JSON Schema of config.yaml. Do not change what you get."""
    text = files("botyard.core").joinpath("config.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def load_config(path: Path | None = None, *, environ: Mapping[str, str] | None = None) -> Config:
    """Read the file (None: defaults only) and the environment.

    Raises SettingsError, a line per mistake with file, line, key and value.
    """
    raw = settings.load(path, config_schema(), environ=environ)
    problems = list(_beyond_the_schema(raw, path, os.environ if environ is None else environ))
    if problems:
        raise settings.SettingsError(problems)
    return msgspec.convert({**raw, "base": path.parent if path else Path()}, Config)


def read_config(path: Path | None = None) -> Config:
    """What the commands start from: the file that was named, else `config.yaml` in the current folder if there is one.

    Raises SettingsError.
    """
    if path is None and Path("config.yaml").is_file():
        path = Path("config.yaml")
    return load_config(path)


def _beyond_the_schema(raw: dict[str, Any], path: Path | None, environ: Mapping[str, str]) -> list[str]:
    def where(*keys: str | int) -> str:
        variable = "__".join(["BOTYARD", *(key.upper() for key in keys if isinstance(key, str))])
        if variable in environ:
            return f"environment variable {variable}"
        return settings.locate(path, keys) if path else "settings"

    problems = []
    for name, keep in raw["store"]["keep"].items():
        keys = ("store", "keep", name, "bytes")
        try:
            keep["bytes"] = size_of(keep["bytes"])
        except ValueError as error:
            problems.append(f"{where(*keys)}: {'.'.join(keys)}: {error}")
    try:
        dt.date.fromisoformat(raw["ingest"]["oldest"])
    except ValueError:
        problems.append(
            f"{where('ingest', 'oldest')}: ingest.oldest: {raw['ingest']['oldest']!r} is not a date of the calendar"
        )
    if url := raw["broker"]["url"]:
        try:
            host, _ = urlsplit(url).hostname, urlsplit(url).port
        except ValueError as error:
            host = str(error)
            problems.append(f"{where('broker', 'url')}: broker.url: {url!r}: {error}")
        if not host:
            problems.append(f"{where('broker', 'url')}: broker.url: {url!r} names no host")
    if (url := raw["store"]["url"]) and (problem := wrong_with(url)):
        problems.append(f"{where('store', 'url')}: store.url: {problem}")
    if (ca := raw["broker"]["ca"]) and not ((path.parent if path else Path()) / ca).is_file():
        problems.append(f"{where('broker', 'ca')}: broker.ca: there is no file {ca!r}")
    for index, site in enumerate(raw["fleet"]["sites"]):
        file = (path.parent if path else Path()) / site
        if not file.is_file():
            problems.append(f"{where('fleet', 'sites', index)}: fleet.sites[{index}]: there is no file {str(file)!r}")
    return problems


def size_of(said: int | str | None) -> int | None:
    """A size in bytes, which may be written as `500 MB` or `1.5 TiB`. Raises ValueError with a sentence."""
    if said is None:
        return None
    found = _SIZE.fullmatch(str(said))
    if found is None:
        raise ValueError(f"{said!r} is no size; write a number of bytes, or 500 MB, 20 GB, 1.5 TiB")
    size: int = round(float(found[1]) * (1024 if found[3] else 1000) ** " KMGT".index((found[2] or " ").upper()))
    if not SMALLEST <= size <= LARGEST:
        raise ValueError(f"{said!r} is not between 1 MB and 1000 TB")
    return size


def is_loopback(host: str) -> bool:
    """Whether an address to listen on, or a peer, is this machine only."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
