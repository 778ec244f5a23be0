"""Profiles as events carry them."""

from collections.abc import Iterable
from typing import Any

import msgspec

from botyard_schemas.calibration import Profile

# Bytes of profiles in one event; the hub takes messages of 256 KiB.
MAX_EVENT = 100_000


def packed(profiles: Iterable[Profile]) -> list[list[dict[str, Any]]]:
    """As many together as one event may hold."""
    packs: list[list[dict[str, Any]]] = []
    room = 0
    for profile in profiles:
        size = len(msgspec.json.encode(profile))
        if size > room:
            packs.append([])
            room = MAX_EVENT
        packs[-1].append(plain(profile))
        room -= size
    return packs


def plain(profile: Profile) -> dict[str, Any]:
    """The profile as JSON has it."""
    found: dict[str, Any] = msgspec.to_builtins(profile)
    return found
