"""The versions of a robot's profiles. Pure: each change gives a new history."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from botyard_edge.calibration.draft import CalibrationError
from botyard_edge.calibration.sound import channels_of
from botyard_schemas.calibration import Draft, Motor, Profile, Wheels, applied_hash

# As many profiles as the state has room for.
MAX_PROFILES = 64
KEPT = 32


@dataclass(frozen=True, slots=True)
class History:
    """Versions by the profile's name, oldest first; the last one is what the robot goes by. `keep` of each are kept.
    Where there is no room for another profile, the one that was switched off first is forgotten."""

    versions: Mapping[str, tuple[Profile, ...]] = field(default_factory=dict)
    keep: int = KEPT

    @property
    def latest(self) -> list[Profile]:
        """What the robot goes by, by name; some may be switched off."""
        return [self.versions[name][-1] for name in sorted(self.versions)]

    @property
    def hash(self) -> str:
        """See `applied_hash`."""
        return applied_hash(self.latest)

    def of(self, name: str) -> tuple[Profile, ...]:
        """The versions of one profile. Raises CalibrationError."""
        if (known := self.versions.get(name)) is None:
            names = ", ".join(sorted(self.versions)) or "none"
            raise CalibrationError(f"there is no profile {name!r}, known are {names}")
        return known

    def version(self, name: str, version: int) -> Profile:
        """One version. Raises CalibrationError."""
        for profile in self.of(name):
            if profile.version == version:
                return profile
        kept = self.of(name)
        raise CalibrationError(
            f"version {version} of {name} is not kept, known are {kept[0].version} to {kept[-1].version}"
        )

    def with_draft(
        self, draft: Draft, *, when: int, who: str, restores: int | None = None
    ) -> tuple["History", Profile]:
        """The draft as the next version of its profile. Raises CalibrationError."""
        before, others = self.versions.get(draft.name, ()), dict(self.versions)
        if not before and len(others) >= MAX_PROFILES:
            off = [one for one in self.latest if one.correction is None]
            if not off:
                raise CalibrationError(f"name: there are {MAX_PROFILES} profiles already, which is the most")
            del others[min(off, key=lambda one: one.when).name]  # which was switched off first
        self._check_alone(draft)
        fields = {name: getattr(draft, name) for name in Draft.__struct_fields__}
        version = before[-1].version + 1 if before else 1
        profile = Profile(**fields, version=version, when=when, who=who[:256], restores=restores)
        kept = (*before, profile)[-self.keep :]
        return History({**others, draft.name: kept}, self.keep), profile

    def restored(self, name: str, version: int) -> Draft:
        """What an earlier version was, to be the next one; version 0 is that of before the first. Raises
        CalibrationError."""
        if version == 0:
            self.of(name)
            return Draft(name)
        old = self.version(name, version)
        return Draft(**{key: getattr(old, key) for key in Draft.__struct_fields__})

    def _check_alone(self, draft: Draft) -> None:
        """Two profiles for one thing: which of them came first would decide. Raises CalibrationError."""
        mine = set(_targets(draft))
        for other in self.latest:
            if other.name != draft.name and (shared := mine & set(_targets(other))):
                _, what = sorted(shared)[0]
                raise CalibrationError(f"correction: {what} is corrected by the profile {other.name} already")


def _targets(draft: Draft) -> list[tuple[str, str]]:
    """What a profile has for itself: a channel may have a scalar correction and an alignment."""
    one = draft.correction
    if one is None:
        return []
    kind = {"axes": "axes"}.get(str(one.__struct_config__.tag), "scalar")
    if isinstance(one, Motor):
        return [("motor", f"{one.command}.{one.argument}")]
    if isinstance(one, Wheels):
        return [("wheels", one.driver)]
    return [(kind, channel) for channel in channels_of(one)]


def differences(before: Draft | None, after: Draft | None) -> list[tuple[str, Any, Any]]:
    """What differs, as rows of path, value before and value after (None: not there)."""
    return [(path, old, new) for path, (old, new) in sorted(_beside(_flat(before), _flat(after)).items()) if old != new]


def _flat(draft: Draft | None) -> dict[str, Any]:
    if draft is None:
        return {}
    flat: dict[str, Any] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict):
            for key, part in value.items():
                walk(part, f"{path}.{key}" if path else key)
        elif isinstance(value, list):
            for index, part in enumerate(value):
                walk(part, f"{path}[{index}]")
        else:
            flat[path] = value

    walk({key: msgspec.to_builtins(getattr(draft, key)) for key in Draft.__struct_fields__}, "")
    return flat


def _beside(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {path: (before.get(path), after.get(path)) for path in before.keys() | after.keys()}
