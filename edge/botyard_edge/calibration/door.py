"""What people at the robot may ask of the calibration, through its local door."""

import asyncio
import contextlib
import math
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from botyard_edge.bus import Bus
from botyard_edge.calibration.draft import CalibrationError, read_draft
from botyard_edge.calibration.node import CalibrationNode
from botyard_edge.recording import Columns, Sample

# Seconds and samples of each channel that somebody may ask for at once.
LONGEST, MOST = 120.0, 5_000


Samples = dict[str, list[tuple[int, float]]]


class Wish(msgspec.Struct, forbid_unknown_fields=True):
    """What is wanted: all profiles, the versions of one, a change, or what channels say for so many seconds: `channels`
    as they are measured, `references` as they are corrected."""

    do: Literal["list", "history", "set", "rollback", "remove", "samples"]
    name: str = ""
    version: int = 0
    profile: dict[str, Any] = {}
    channels: list[str] = []
    references: list[str] = []
    seconds: float = 1.0


async def answer_calibration(
    node: CalibrationNode, bus: Bus, args: Mapping[str, Any], who: str
) -> tuple[dict[str, Any] | None, str | None]:
    """The answer, or else the sentence why it is refused."""
    try:
        wish = msgspec.convert(args, Wish)
        return await _answer(node, bus, wish, who or "somebody at the robot"), None
    except (CalibrationError, msgspec.ValidationError) as error:
        return None, str(error)


async def _answer(node: CalibrationNode, bus: Bus, wish: Wish, who: str) -> dict[str, Any]:
    if wish.do == "list":
        state = node.state()
        standing = msgspec.to_builtins(state.profiles) if state else {}
        return {"hash": node.hash, "profiles": msgspec.to_builtins(node.profiles), "state": standing}
    if wish.do == "history":
        return {"versions": msgspec.to_builtins(node.history(wish.name))}
    if wish.do == "samples":
        return await _sampled(node, bus, wish)
    if wish.do == "set":
        profile = await node.set(read_draft(wish.profile), who=who)
    elif wish.do == "rollback":
        profile = await node.rollback(wish.name, wish.version, who=who)
    else:
        profile = await node.remove(wish.name, who=who)
    return {"profile": msgspec.to_builtins(profile), "hash": node.hash}


async def _sampled(node: CalibrationNode, bus: Bus, wish: Wish) -> dict[str, Any]:
    """Samples as drivers tell them from now on, times in microseconds."""
    if not 0.0 < wish.seconds <= LONGEST:
        raise CalibrationError(f"seconds: {wish.seconds:g} is not between 0 and {LONGEST:g}")
    raw: Samples = {channel: [] for channel in wish.channels}
    corrected: Samples = {channel: [] for channel in wish.references}
    end = asyncio.get_running_loop().time() + wish.seconds
    with bus.subscribe("drivers/**", size=MOST) as told:
        while (left := end - asyncio.get_running_loop().time()) > 0:
            try:
                async with asyncio.timeout(left):
                    item = await told.get()
            except TimeoutError:
                break
            for ts, values in _rows(item.value):
                _note(ts, values, raw)
                corrector = node.corrector if corrected else None
                _note(ts, values if corrector is None else corrector.corrected(values), corrected)
    return {"samples": raw, "references": corrected}


def _rows(value: object) -> list[tuple[int, Mapping[str, Any]]]:
    if isinstance(value, Sample):
        return [(value.ts, value.values)]
    if isinstance(value, Columns):
        columns = value.columns
        return [(ts, {name: column[at] for name, column in columns.items()}) for at, ts in enumerate(value.ts)]
    return []


def _note(ts: int, values: Mapping[str, Any], found: Samples) -> None:
    for channel, samples in found.items():
        sample = values.get(channel)
        if not isinstance(sample, int | float) or isinstance(sample, bool) or len(samples) >= MOST:
            continue
        with contextlib.suppress(OverflowError):  # an integer that no double can hold is no sample
            if math.isfinite(value := float(sample)):
                samples.append((ts, value))
