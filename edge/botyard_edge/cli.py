"""The `botyard-edge` command. What a command needs is imported when it runs, so that the others are quick."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from botyard_schemas import __version__
from botyard_schemas.clock import SystemClock

if TYPE_CHECKING:
    from botyard_edge.config import Config
    from botyard_edge.membership import Membership

CANNOT_RUN = 1
SETTINGS_ARE_WRONG = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code (2: the settings are wrong; 1: it cannot run)."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(
        level=logging.DEBUG if arguments.verbose else logging.INFO,
        format="%(asctime)s %(levelname)-7s %(message)s",
        stream=sys.stderr,
    )
    try:
        return int(arguments.work(arguments))
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        print(error, file=sys.stderr)
        return code


def _exit_code(error: Exception) -> int | None:
    """What the process ends with after an error whose sentence is for people; None: it is a mistake of ours."""
    from botyard_edge.membership import MembershipError
    from botyard_edge.outbox import OutboxError
    from botyard_edge.plugins import PluginError
    from botyard_schemas.settings import SettingsError

    if isinstance(error, SettingsError | PluginError):
        return SETTINGS_ARE_WRONG
    return CANNOT_RUN if isinstance(error, OutboxError | MembershipError) else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="botyard-edge", description="Connects a robot to its Botyard hub.")
    parser.add_argument("--version", action="version", version=f"botyard-edge {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="say more about what happens")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run the drivers of a robot until SIGTERM or Ctrl+C")
    run.add_argument("settings", type=Path, metavar="robot.yaml")
    run.add_argument(
        "--until-done", action="store_true", help="end once every driver has finished and the hub has everything"
    )
    run.set_defaults(work=_run)
    check = commands.add_parser("check", help="check the settings and say what is wrong with them")
    check.add_argument("settings", type=Path, metavar="robot.yaml")
    check.set_defaults(work=_check)
    retire = commands.add_parser("retire", help="hand over what the hub has not got, and leave the fleet for good")
    retire.add_argument("settings", type=Path, metavar="robot.yaml")
    retire.add_argument("--within", type=float, default=60.0, metavar="SECONDS", help="wait so long for the hub (60)")
    retire.add_argument("--leave-behind", action="store_true", help="leave even if messages stay behind in the outbox")
    retire.set_defaults(work=_retire)
    returning = commands.add_parser("return", help="let a retired robot take part again")
    returning.add_argument("settings", type=Path, metavar="robot.yaml")
    returning.set_defaults(work=_return)
    listing = commands.add_parser("drivers", help="list the drivers that can be named in robot.yaml")
    listing.set_defaults(work=_drivers)
    return parser


def _run(arguments: argparse.Namespace) -> int:
    import asyncio

    from botyard_edge.config import load_config

    config = load_config(arguments.settings, os.environ)
    if arguments.until_done:
        config = replace(config, exit_when_done=True)
    return asyncio.run(_serve(config))


def _check(arguments: argparse.Namespace) -> int:
    from botyard_edge.config import load_config

    config = load_config(arguments.settings, os.environ)
    names = ", ".join(f"{driver.name} ({driver.spec.name})" for driver in config.drivers)
    print(f"{arguments.settings} is fine: robot {config.robot} with {names}")
    return 0


def _retire(arguments: argparse.Namespace) -> int:
    import asyncio

    membership = _membership(arguments.settings)
    left = asyncio.run(membership.retire(within=arguments.within, leave_behind=arguments.leave_behind))
    behind = f"; {left} messages stay in its outbox" if left else ""
    print(f"{membership.config.robot} has left the fleet{behind}")
    return 0


def _return(arguments: argparse.Namespace) -> int:
    import asyncio

    membership = _membership(arguments.settings)
    asyncio.run(membership.come_back())
    print(f"{membership.config.robot} has asked to take part again; start it with `botyard-edge run`")
    return 0


def _membership(settings: Path) -> "Membership":
    import random

    from botyard_edge.config import load_config
    from botyard_edge.membership import Membership
    from botyard_edge.transports import make_transports

    config = load_config(settings, os.environ)
    return Membership(config, SystemClock(), random.Random(), make_transports(config))


def _drivers(arguments: argparse.Namespace) -> int:
    from botyard_edge.plugins import build_plugin_manager, drivers

    del arguments
    for name, spec in sorted(drivers(build_plugin_manager()).items()):
        print(f"{name:12} {spec.description}")
    return 0


async def _serve(config: "Config") -> int:
    import asyncio
    import random
    import signal

    from botyard_edge.boots import boot_id
    from botyard_edge.runtime import Runtime
    from botyard_edge.transports import make_transports

    transport = make_transports(config)
    runtime = Runtime(config, clock=SystemClock(), rng=random.Random(), transport=transport, boot=boot_id())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, runtime.stop)
    try:
        return await runtime.run()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


if __name__ == "__main__":
    sys.exit(main())
