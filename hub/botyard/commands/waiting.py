"""Commands that have not come to their end: which there are, how many there may be, when each is looked at next."""

import contextlib
import heapq
import itertools
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from botyard.commands.life import BEGUN, stage_of
from botyard.commands.request import WELL_KNOWN, CommandRefusedError
from botyard.store.base import CommandRow

# Commands that may wait for one robot's answer, stops that may do so beside them, and what may be under way at one.
MAX_OF_ROBOT, MAX_STOPS, MAX_BEGUN = 64, 64, 256
# Commands of all robots, apart from stops.
MAX_OF_ALL = 50_000


@dataclass(slots=True, eq=False)
class Waiting:
    """A command that is expected to go on. `due` is when it is looked at next, by the steady clock.

    `answered`: the robot has answered, and that is being written down. `doubtful`: whether the robot was given it is
    not known. `unsure`: whether it still is in the store has to be looked up first. `quiet` is when it was heard of
    last, or its deadline when that is later; `asked` is when the robot was asked what has become of it, and `away`
    since when it could not be asked.
    """

    row: CommandRow
    due: float = math.inf
    sendings: int = 0
    busy: bool = False
    answered: bool = False
    doubtful: bool = False
    unsure: bool = False
    given_up: str | None = None
    quiet: float = 0.0
    asked: float = -math.inf
    away: float | None = None

    @property
    def begun(self) -> bool:
        """Whether the robot has taken it on."""
        return stage_of(self.row) in BEGUN

    @property
    def urgent(self) -> bool:
        """Whether it goes before others: stops do."""
        return self.row.name in WELL_KNOWN


class Outstanding:
    """The commands by id and by robot."""

    def __init__(self) -> None:
        self._by_id: dict[str, Waiting] = {}
        self._robots: dict[str, dict[str, Waiting]] = {}
        self._stops = 0
        # by robot and urgency: places of commands that are just being written down
        self._reserved: Counter[tuple[str, bool]] = Counter()

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._by_id.values())

    def get(self, command: str) -> Waiting | None:
        """The one with this id."""
        return self._by_id.get(command)

    def expected(self, robot: str, command: str) -> bool:
        """Whether this is one of the robot's."""
        return command in self._robots.get(robot, ())

    def robots(self) -> list[str]:
        """Those that have any."""
        return list(self._robots)

    def of(self, robot: str) -> list[Waiting]:
        """Those of a robot, in the order of their coming."""
        return list(self._robots.get(robot, {}).values())

    def add(self, one: Waiting) -> None:
        """Expect something of it."""
        self._by_id[one.row.id] = self._robots.setdefault(one.row.robot, {})[one.row.id] = one
        self._stops += one.urgent

    def remove(self, command: str) -> Waiting | None:
        """Expect nothing more of it; gives it, if there was one."""
        one = self._by_id.pop(command, None)
        if one is not None:
            of_robot = self._robots[one.row.robot]
            del of_robot[command]
            if not of_robot:
                del self._robots[one.row.robot]
            self._stops -= one.urgent
        return one

    @contextlib.contextmanager
    def place(self, row: CommandRow) -> Iterator[None]:
        """Keep a place for a command that is not added yet. Raises CommandRefusedError when there is none.

        Stops have places of their own: what else waits never keeps a robot from being stopped.
        """
        key = row.robot, row.name in WELL_KNOWN
        self._check_room(*key)
        self._reserved[key] += 1
        try:
            yield
        finally:
            self._reserved[key] -= 1
            if not self._reserved[key]:
                del self._reserved[key]

    def _check_room(self, robot: str, urgent: bool) -> None:
        begun = Counter(one.begun for one in self.of(robot) if one.urgent == urgent)
        waiting = begun[False] + self._reserved[robot, urgent]
        if urgent:
            if waiting >= MAX_STOPS:
                raise CommandRefusedError("full", f"{MAX_STOPS} commands to stop robot {robot!r} wait already")
            return
        if waiting >= MAX_OF_ROBOT:
            raise CommandRefusedError("full", f"{MAX_OF_ROBOT} commands wait for robot {robot!r} already")
        if begun[True] >= MAX_BEGUN:
            raise CommandRefusedError("full", f"{MAX_BEGUN} commands are under way at robot {robot!r} already")
        reserved = sum(count for (_, stop), count in self._reserved.items() if not stop)
        if len(self._by_id) - self._stops + reserved >= MAX_OF_ALL:
            raise CommandRefusedError("full", f"{MAX_OF_ALL} commands wait for robots already")


class Timetable:
    """When each command is looked at next. Stops that are due go before everything else that is."""

    def __init__(self) -> None:
        self._queues: tuple[list[tuple[float, int, Waiting]], ...] = ([], [])
        self._count = itertools.count()

    def put(self, one: Waiting, due: float) -> None:
        """Look at it then, and not when it was to be before."""
        one.due = due
        heapq.heappush(self._queues[not one.urgent], (due, next(self._count), one))

    def next(self) -> float:
        """When something is due; it may turn out to be nothing."""
        return min((queue[0][0] for queue in self._queues if queue), default=math.inf)

    def pop(self, now: float, *, only_urgent: bool = False) -> Waiting | None:
        """One that is due."""
        for queue in self._queues[: 1 if only_urgent else 2]:
            while queue and queue[0][0] <= now:
                due, _, one = heapq.heappop(queue)
                if one.due == due:
                    return one
        return None

    def tidy(self, outstanding: Outstanding) -> None:
        """Forget what is not true any more, when that is most of it: a robot that comes and goes leaves a lot."""
        if sum(map(len, self._queues)) <= 2 * len(outstanding) + 1024:
            return
        for queue in self._queues:
            queue[:] = [entry for entry in queue if entry[0] == entry[2].due and _is(outstanding, entry[2])]
            heapq.heapify(queue)


def _is(outstanding: Outstanding, one: Waiting) -> bool:
    return outstanding.get(one.row.id) is one
