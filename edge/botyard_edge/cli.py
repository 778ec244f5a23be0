"""The `botyard-edge` command. What a command needs is imported when it runs, so that the others are quick."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from botyard_edge.calibrate import add_calibrate
from botyard_schemas import __version__
from botyard_schemas.clock import SystemClock

if TYPE_CHECKING:
    from botyard_edge.config import Config
    from botyard_edge.membership import Membership
    from botyard_edge.transport import Transport

CANNOT_RUN = 1
SETTINGS_ARE_WRONG = 2
INTERRUPTED = 130  # as shells say it: 128 and the number of SIGINT


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
    except KeyboardInterrupt:
        return INTERRUPTED


def _exit_code(error: Exception) -> int | None:
    """What the process ends with after an error whose sentence is for people; None: it is a mistake of ours."""
    from botyard_edge.calibration.draft import CalibrationError
    from botyard_edge.local.door import DoorError
    from botyard_edge.membership import MembershipError
    from botyard_edge.outbox import OutboxError
    from botyard_edge.plugins import PluginError
    from botyard_edge.recording import RecordingError
    from botyard_schemas.settings import SettingsError

    if isinstance(error, SettingsError | PluginError):
        return SETTINGS_ARE_WRONG
    told = OutboxError | MembershipError | RecordingError | DoorError | CalibrationError
    return CANNOT_RUN if isinstance(error, told) else None


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
    run.add_argument("--record", type=Path, metavar="FILE", help="record what is on the robot's bus to this file")
    run.set_defaults(work=_run)
    _add_recording(commands)
    add_calibrate(commands)
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
    estop = commands.add_parser("estop", help="at the robot: see why it does not move, stop it, or clear a stop")
    estop.add_argument("do", choices=("status", "set", "clear"))
    estop.add_argument("settings", type=Path, metavar="robot.yaml", nargs="?", default=Path("robot.yaml"))
    estop.add_argument("--reason", default="", help="why, for the record")
    estop.set_defaults(work=_estop)
    status = commands.add_parser("status", help="at the robot: what it does, why it does not move, and what fails")
    status.add_argument("settings", type=Path, metavar="robot.yaml", nargs="?", default=Path("robot.yaml"))
    shape = status.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="as JSON, for programs")
    shape.add_argument("--watch", action="store_true", help="again every second, until Ctrl+C")
    status.set_defaults(work=_status)
    listing = commands.add_parser("drivers", help="list the drivers that can be named in robot.yaml")
    listing.set_defaults(work=_drivers)
    return parser


def _add_recording(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    record = commands.add_parser("record", help="run the drivers of a robot without its hub, and record its bus")
    record.add_argument("file", type=Path, metavar="FILE", help="is appended to when it exists")
    record.add_argument("settings", type=Path, metavar="robot.yaml")
    record.add_argument("--for", dest="seconds", type=_positive, metavar="SECONDS", help="end after so long")
    record.set_defaults(work=_record)
    play = commands.add_parser("play", help="play a recording in place of a robot's drivers")
    play.add_argument("file", type=Path, metavar="FILE", help="the recording")
    play.add_argument(
        "settings",
        type=Path,
        nargs="?",
        metavar="robot.yaml",
        help="send it to this robot's hub, at the recorded pace; left out, the messages are printed, without a pause",
    )
    play.add_argument("--speed", type=_positive, default=1.0, metavar="FACTOR", help="times the recorded pace (1)")
    play.set_defaults(work=_play)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return number


def _run(arguments: argparse.Namespace) -> int:
    import asyncio

    from botyard_edge.config import load_config

    config = load_config(arguments.settings, os.environ)
    if arguments.until_done:
        config = replace(config, exit_when_done=True)
    if arguments.record:
        config = _recorded(config, arguments.record)
    return asyncio.run(_serve(config))


def _recorded(config: "Config", file: Path) -> "Config":
    """The settings with a recording to this file. Raises RecordingError when it holds something else."""
    from botyard_edge.recorder import RecordSettings
    from botyard_edge.recording import check_recordable

    check_recordable(file)
    record = config.record or RecordSettings(file)
    return replace(config, record=replace(record, path=file.resolve()))


def _record(arguments: argparse.Namespace) -> int:
    import asyncio

    from botyard_edge.alone import Alone
    from botyard_edge.config import OutboxSettings, load_config

    config = _recorded(load_config(arguments.settings, os.environ), arguments.file)
    config = replace(config, outbox=OutboxSettings())
    return asyncio.run(_serve(config, [Alone(SystemClock())], seconds=arguments.seconds))


def _play(arguments: argparse.Namespace) -> int:
    import asyncio

    from botyard_edge.config import load_config
    from botyard_edge.playing import examine, play_alone, with_recording

    recording = examine(arguments.file)
    log = logging.getLogger(__name__)
    if recording.torn:
        log.warning("%s", recording.torn)
    if recording.lost:
        log.warning("%s: %d items of the bus could not be recorded and are missing", arguments.file, recording.lost)
    if arguments.settings is not None:
        config = with_recording(load_config(arguments.settings, os.environ), recording, speed=arguments.speed)
        return asyncio.run(_serve(replace(config, exit_when_done=True)))

    def say(message: bytes) -> None:
        sys.stdout.buffer.write(message + b"\n")

    try:
        code = asyncio.run(play_alone(recording, say, speed=arguments.speed))
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read it has had enough; what is in the buffer would fail again at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


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


def _estop(arguments: argparse.Namespace) -> int:
    from botyard_edge.local.door import Request, ask, whoever

    answer = ask(_door(arguments.settings), Request(arguments.do, whoever(), arguments.reason))
    print(f"mode: {answer.status.mode}")
    for cause in answer.status.causes:
        lasts = "lasts" if cause.active else "has gone, and waits to be cleared"
        print(f"  {cause.level}: {cause.reason} ({lasts})")
    if answer.refused is not None:
        print(answer.refused, file=sys.stderr)
    return CANNOT_RUN if answer.refused is not None else 0


def _status(arguments: argparse.Namespace) -> int:
    from botyard_edge.local import watching

    door = _door(arguments.settings)
    if arguments.json:
        return watching.as_json(door, sys.stdout)
    return (watching.watch if arguments.watch else watching.once)(door, sys.stdout, os.environ)


def _door(settings: Path) -> Path:
    from botyard_edge.config import door_file
    from botyard_edge.local.door import DoorError

    door = door_file(settings, os.environ)
    if door is None:
        raise DoorError("this robot keeps nothing on disk (outbox.path), so it has no local door either")
    return door


def _drivers(arguments: argparse.Namespace) -> int:
    from botyard_edge.plugins import build_plugin_manager, drivers

    del arguments
    for name, spec in sorted(drivers(build_plugin_manager()).items()):
        print(f"{name:12} {spec.description}")
    return 0


async def _serve(
    config: "Config", transports: "Sequence[Transport] | None" = None, *, seconds: float | None = None
) -> int:
    """Run until a signal or for so many seconds. `transports` None: those of the settings."""
    import asyncio
    import random
    import signal

    from botyard_edge.boots import boot_id
    from botyard_edge.runtime import Runtime
    from botyard_edge.transports import make_transports

    transport = transports or make_transports(config)
    runtime = Runtime(config, clock=SystemClock(), rng=random.Random(), transport=transport, boot=boot_id())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, runtime.stop)
    ending = loop.call_later(seconds, runtime.stop) if seconds is not None else None
    try:
        code = await runtime.run()
    finally:
        if ending is not None:
            ending.cancel()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    if runtime.abandoned:
        # asyncio would wait for what does not end when it is told to. Everything else has ended already.
        logging.getLogger(__name__).warning("what does not end is left behind: %s", ", ".join(runtime.abandoned))
        logging.shutdown()
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
