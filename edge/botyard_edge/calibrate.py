"""The arguments of `botyard-edge calibrate`. What it does is imported when it runs."""

import argparse
from collections.abc import Callable
from pathlib import Path


def add_calibrate(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command with its own commands."""
    parser = commands.add_parser("calibrate", help="at the robot: see, fit, set and roll back its calibration")
    inner = parser.add_subparsers(required=True, metavar="WHAT")
    _add(inner, "list", "the profiles, and where each stands")
    _add(inner, "show", "one profile with its versions", name=True).add_argument(
        "--version", type=int, metavar="N", help="this version; left out, the one that the robot goes by"
    )
    diff = _add(inner, "diff", "what differs between two versions of a profile", name=True)
    diff.add_argument("before", type=int, nargs="?", metavar="BEFORE", help="version; left out, the one before")
    diff.add_argument("after", type=int, nargs="?", metavar="AFTER", help="version; left out, the latest")
    _add(inner, "set", "apply a profile from a file, as a new version").add_argument(
        "file", type=Path, metavar="PROFILE", help="YAML or JSON"
    )
    rollback = _add(inner, "rollback", "apply an earlier version again", name=True)
    rollback.add_argument("version", type=int, metavar="VERSION", help="0 is that of before the first")
    _add(inner, "remove", "switch a profile off; its versions are kept", name=True)
    _add_fit(inner)


def _add_fit(inner: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    fit = _add(inner, "fit", "fit a profile from samples, and show how well it fits", name=True)
    what = fit.add_mutually_exclusive_group(required=True)
    what.add_argument("--channel", metavar="CHANNEL", help="of a sensor: offset and scale, or --offset, or --degree")
    what.add_argument("--axes", nargs=3, metavar=("X", "Y", "Z"), help="channels of a vector: matrix and offset")
    what.add_argument("--motor", metavar="COMMAND.ARGUMENT", help="gain and dead band of both directions")
    what.add_argument("--wheels", metavar="DRIVER", help="radii and track")
    source = fit.add_mutually_exclusive_group()
    source.add_argument("--samples", type=Path, metavar="FILE", help="CSV; left out, the running robot is sampled")
    source.add_argument(
        "--reference", metavar="CHANNEL", help="compare with this channel; left out, values are asked for"
    )
    fit.add_argument("--seconds", type=_seconds, default=2.0, metavar="S", help="to sample for, of each value (2)")
    shape = fit.add_mutually_exclusive_group()
    shape.add_argument("--degree", type=int, metavar="N", help="fit a polynomial of this degree, 1 to 5")
    shape.add_argument("--offset", action="store_true", help="fit the offset alone")
    fit.add_argument("--raw", action="store_true", help="keep raw values in a channel beside")
    fit.add_argument("--note", default="", help="for the record")
    fit.add_argument("--valid-days", type=_days, metavar="DAYS", help="after which it should be measured again")
    fit.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw it into this file as well")
    fit.add_argument("--out", type=Path, metavar="FILE", help="write the profile to this file (YAML)")
    fit.add_argument("--set", dest="apply", action="store_true", help="apply it")


def _add(
    inner: "argparse._SubParsersAction[argparse.ArgumentParser]", what: str, words: str, *, name: bool = False
) -> argparse.ArgumentParser:
    parser = inner.add_parser(what, help=words)
    parser.add_argument("settings", type=Path, metavar="robot.yaml")
    if name:
        parser.add_argument("name", metavar="PROFILE", help="the profile's name")
    parser.set_defaults(work=_work(what))
    return parser


def _work(what: str) -> Callable[[argparse.Namespace], int]:
    def work(arguments: argparse.Namespace) -> int:
        from botyard_edge.calibration.command import COMMANDS

        return COMMANDS[what](arguments)

    return work


def _seconds(text: str) -> float:
    return _number(text, 120)


def _days(text: str) -> float:
    return _number(text, 36_500)


def _number(text: str, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0 and at most {most:g}")
    return number
