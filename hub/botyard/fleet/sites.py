"""The places where robots work, and their plans."""

import functools
import json
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import msgspec

from botyard_schemas import settings


class Zone(msgspec.Struct, frozen=True, kw_only=True):
    """An area of a site plan; metres."""

    name: str
    kind: Literal["area", "rack", "keepout", "dock"]
    polygon: list[tuple[float, float]]


class Station(msgspec.Struct, frozen=True, kw_only=True):
    """A named place of a site plan; metres."""

    name: str
    kind: Literal["waypoint", "dock", "door", "lift", "station"]
    x: float
    y: float


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A place where robots work, with its plan. `id` is the `frame` of poses on it; all lengths in metres, x to the
    right and y up. `roads` are pairs of station names."""

    id: str
    name: str
    width: float
    height: float
    walls: list[list[tuple[float, float]]] = []
    zones: list[Zone] = []
    stations: list[Station] = []
    roads: list[tuple[str, str]] = []


@functools.cache
def site_schema() -> dict[str, Any]:
    """The JSON Schema of plan files. Do not change what you get."""
    text = files("botyard.fleet").joinpath("site.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def load_site(path: Path) -> Site:
    """Read a plan file. Raises SettingsError, a line per mistake with file, line, key and value."""
    raw = settings.load(path, site_schema(), environ={})
    site = msgspec.convert(raw, Site)
    known = {station.name for station in site.stations}
    problems = [
        f"{settings.locate(path, ('roads', index))}: roads[{index}]: {name!r} is not a station of this plan"
        for index, road in enumerate(site.roads)
        for name in road
        if name not in known
    ]
    if len(known) < len(site.stations):
        names = [station.name for station in site.stations]
        index = next(i for i, name in enumerate(names) if name in names[:i])
        problems.append(
            f"{settings.locate(path, ('stations', index))}: stations[{index}].name: {names[index]!r} stands twice"
        )
    if problems:
        raise settings.SettingsError(problems)
    return site


def load_sites(paths: list[Path]) -> list[Site]:
    """Read several plan files, by id. Raises SettingsError with the mistakes of all of them."""
    sites: dict[str, Site] = {}
    problems: list[str] = []
    for path in paths:
        try:
            site = load_site(path)
        except settings.SettingsError as error:
            problems += error.problems
            continue
        if site.id in sites:
            problems.append(f"{settings.locate(path, ('id',))}: id: {site.id!r} is the id of another plan already")
        sites[site.id] = site
    if problems:
        raise settings.SettingsError(problems)
    return [sites[site_id] for site_id in sorted(sites)]
