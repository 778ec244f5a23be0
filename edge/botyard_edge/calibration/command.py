"""What `botyard-edge calibrate` does."""

import argparse
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from botyard_edge.calibration.draft import CalibrationError
from botyard_edge.calibration.fitted import fitted, profile_of, written
from botyard_edge.calibration.history import differences
from botyard_edge.calibration.plot import drawn, svg
from botyard_edge.calibration.reach import Reach
from botyard_edge.calibration.reading import located, read_profile
from botyard_edge.config import load_config
from botyard_schemas.calibration import Draft, Profile
from botyard_schemas.settings import SettingsError

NOTHING = "-"


def _reach(arguments: argparse.Namespace) -> Reach:
    return Reach(load_config(arguments.settings, os.environ))


def _list(arguments: argparse.Namespace) -> int:
    answer = _reach(arguments).ask("list")
    profiles = msgspec.convert(answer["profiles"], list[Profile])
    if not profiles:
        print("this robot was never calibrated")
        return 0
    standings = answer.get("state")
    print(f"{'applied' if standings is not None else 'applied when the robot runs'}: {answer['hash']}")
    standings = standings or {}
    rows = [("PROFILE", "VERSION", "STATUS", "WHAT", "WHEN", "WHO")]
    for one in profiles:
        standing = standings.get(one.name, {})
        status = standing.get("status", NOTHING)
        rows.append((one.name, str(one.version), status, _what(one), _date(one.when), one.who))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for name, standing in standings.items():
        if standing.get("problem"):
            print(f"{name}: {standing['problem']}")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    versions = _versions(arguments)
    chosen = _version(versions, arguments.version) if arguments.version is not None else versions[-1]
    if chosen is None:
        raise CalibrationError(f"{arguments.name}: version 0 is that of before the first, and corrects nothing")
    print(written(chosen), end="")
    print("\nversions:")
    for one in versions:
        restores = f", as in version {one.restores}" if one.restores else ""
        print(f"  {one.version}: {_what(one)}{restores}, {_date(one.when)} by {one.who}")
    return 0


def _diff(arguments: argparse.Namespace) -> int:
    versions = _versions(arguments)
    after = _version(versions, versions[-1].version if arguments.after is None else arguments.after)
    number = after.version if after else 0
    before = _version(versions, max(0, number - 1) if arguments.before is None else arguments.before)
    print(f"--- {arguments.name} version {before.version if before else 0}")
    print(f"+++ {arguments.name} version {number}")
    for path, old, new in differences(before, after):
        if old is not None:
            print(f"- {path}: {old}")
        if new is not None:
            print(f"+ {path}: {new}")
    return 0


def _set(arguments: argparse.Namespace) -> int:
    reach, draft = _reach(arguments), read_profile(arguments.file)
    try:
        _say(reach.ask("set", profile=_sent(draft)))
    except CalibrationError as error:
        raise SettingsError([located(arguments.file, str(error))]) from error
    return 0


def _rollback(arguments: argparse.Namespace) -> int:
    _say(_reach(arguments).ask("rollback", name=arguments.name, version=arguments.version))
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    _say(_reach(arguments).ask("remove", name=arguments.name))
    return 0


def _fit(arguments: argparse.Namespace) -> int:
    reach = _reach(arguments)
    fit = fitted(arguments, reach)
    profile = profile_of(arguments, fit)
    print(drawn(fit))
    print(f"rms {fit.residuals.rms:.4g}, largest {fit.residuals.max:.4g} over {fit.residuals.count}\n")
    print(written(profile), end="")
    if arguments.plot is not None:
        _write(arguments.plot, svg(fit, f"{arguments.name}: {fit.method}"))
    if arguments.out is not None:
        _write(arguments.out, written(profile))
    if arguments.apply:
        _say(reach.ask("set", profile=_sent(profile)))
    elif arguments.out is None:
        print(
            "\nnothing is applied; run it again with --set, or with --out FILE and then `calibrate set`",
            file=sys.stderr,
        )
    return 0


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be written: {error.strerror}") from error


def _versions(arguments: argparse.Namespace) -> list[Profile]:
    return msgspec.convert(_reach(arguments).ask("history", name=arguments.name)["versions"], list[Profile])


def _version(versions: list[Profile], number: int) -> Profile | None:
    """The version; None is version 0. Raises CalibrationError."""
    if number == 0:
        return None
    for one in versions:
        if one.version == number:
            return one
    known = f"{versions[0].version} to {versions[-1].version}"
    raise CalibrationError(f"version {number} of {versions[0].name} is not kept, known are {known}")


def _sent(draft: Draft) -> dict[str, Any]:
    plain: dict[str, Any] = {key: msgspec.to_builtins(getattr(draft, key)) for key in Draft.__struct_fields__}
    return plain


def _say(answer: dict[str, Any]) -> None:
    one = msgspec.convert(answer["profile"], Profile)
    print(f"{one.name} is at version {one.version} now ({_what(one)}); applied: {answer['hash']}")


def _what(one: Draft) -> str:
    correction = one.correction
    if correction is None:
        return "off"
    tag = str(correction.__struct_config__.tag)
    return f"{tag} of {target(correction)}"


def target(correction: Any) -> str:
    """What a correction is about, in a few words."""
    for name in ("channel", "driver"):
        if hasattr(correction, name):
            return str(getattr(correction, name))
    return (
        ", ".join(correction.channels)
        if hasattr(correction, "channels")
        else f"{correction.command}.{correction.argument}"
    )


def _date(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "list": _list,
    "show": _show,
    "diff": _diff,
    "set": _set,
    "rollback": _rollback,
    "remove": _remove,
    "fit": _fit,
}
