"""What robots report on commands, from the commit of a report until it is taken over."""

import logging
from collections.abc import Callable

import msgspec

from botyard.store.base import ReportRow
from botyard_schemas.messages import Report

log = logging.getLogger(__name__)

# Commands with reports that wait, of each robot, apart from those that something is expected of.
MAX_OF_ROBOT = 128

_report = msgspec.json.Decoder(Report)

Said = tuple[int, Report]


def said_in(row: ReportRow) -> Said:
    """When it was said, and what. Without the result, which may be long, and is in the store."""
    return row.ts, msgspec.structs.replace(_report.decode(row.body), result=None)


class Reported:
    """Reports by robot and command. One robot after the other gets its turn, whatever others report.

    Of each status one report is enough: the first, or of progress the last. A robot that reports on more commands than
    there is room for, `expected` ones aside, is to have its commands looked through when its turn comes.
    """

    def __init__(self, expected: Callable[[str, str], bool]) -> None:
        self._expected = expected
        self._robots: dict[str, dict[str, dict[str, Said]]] = {}
        self._strange: dict[str, set[str]] = {}
        self._overflowed: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._robots or self._overflowed)

    def note(self, row: ReportRow) -> None:
        """Keep a report for `take`."""
        commands = self._robots.get(row.robot, {})
        if row.command not in commands and not self._expected(row.robot, row.command):
            strange = self._strange.setdefault(row.robot, set())
            if len(strange) >= MAX_OF_ROBOT:
                self.overflow(row.robot)
                return
            strange.add(row.command)
        self._robots.setdefault(row.robot, commands)
        said = commands.setdefault(row.command, {})
        if row.status == "running" or row.status not in said:
            said[row.status] = said_in(row)

    def take(self) -> tuple[str, str, dict[str, Said]] | None:
        """The robot, the command and the reports on it whose turn it is."""
        robot = next(iter(self._robots), None)
        if robot is None:
            return None
        commands = self._robots.pop(robot)
        command = next(iter(commands))
        said = commands.pop(command)
        if commands:
            self._robots[robot] = commands  # at the end
        if strange := self._strange.get(robot):
            strange.discard(command)
            if not strange:
                del self._strange[robot]
        return robot, command, said

    def put_back(self, robot: str, command: str, said: dict[str, Said]) -> None:
        """They could not be taken over. What came meanwhile counts as later."""
        commands = self._robots.setdefault(robot, {})
        merged = dict(said)
        for status, later in commands.get(command, {}).items():
            if status == "running" or status not in merged:
                merged[status] = later
        commands[command] = merged

    def overflowed(self) -> str | None:
        """A robot whose commands are to be looked through, as it has nothing else that waits; once."""
        robot = next((robot for robot in self._overflowed if robot not in self._robots), None)
        if robot is not None:
            self._overflowed.discard(robot)
        return robot

    def overflow(self, robot: str) -> None:
        """The robot's commands are to be looked through."""
        if robot not in self._overflowed:
            log.warning(
                "robot %s reports on more than %d commands at once that nothing is expected of; its commands will be "
                "looked through once these are dealt with", robot, MAX_OF_ROBOT,
            )  # fmt: skip
        self._overflowed.add(robot)
