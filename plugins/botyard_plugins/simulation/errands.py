"""What a scenario asks of robots at a real hub: asked over its API as an operator would, and followed to its end."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence

from botyard.web.models import Command
from botyard_plugins.simulation import judging
from botyard_plugins.simulation.hubapi import HubApi, NoAnswerError, RefusedError
from botyard_plugins.simulation.scenario import Errand
from botyard_schemas.clock import Clock

# Seconds between two looks at what has not ended, and after its deadline in which the hub notes that it has expired.
LOOK_EVERY = 1.0
NOTED_WITHIN = 5.0
TOGETHER = 8


class Errands:
    """The commands of one run. `unasked` are sentences about those that the hub did not take in."""

    def __init__(self, api: HubApi, clock: Clock, names: Sequence[str], run: str) -> None:
        self.unasked: list[str] = []
        self._api = api
        self._clock = clock
        self._names = names
        self._run = run
        self._asked: dict[str, Errand] = {}
        self._last: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._deadline = 0.0

    async def run(self, errands: Sequence[Errand], began: float) -> None:
        """Ask for each at its moment; those of one robot one after another."""
        async with asyncio.TaskGroup() as tasks:
            for number, errand in enumerate(errands):
                await self._clock.sleep(max(0.0, began + errand.at - self._clock.monotonic()))
                tasks.create_task(self._ask(f"{self._run}-{number}", errand), name="simulation.command")

    async def _ask(self, id_: str, errand: Errand) -> None:
        what, robot = errand.what, self._name(errand)
        until = self._clock.monotonic() + what.expires
        body = {"id": id_, "name": what.command, "args": what.args, "expires_in": what.expires}
        async with self._last[errand.robot]:
            try:
                await self._api.request(robot, body, until - self._clock.monotonic())
            except NoAnswerError as error:
                self.unasked.append(
                    f"{robot}: {what.command} was not taken in: no answer from the hub for {what.expires:g} s ({error})"
                )
                return
            except RefusedError as error:
                self.unasked.append(f"{robot}: {what.command} was not taken in: {error}")
                return
        self._asked[id_] = errand
        self._deadline = max(self._deadline, self._clock.monotonic() + what.expires)

    async def ends(self, excused: Callable[[Errand], bool], patience: float) -> list[judging.End]:
        """What became of each, once the robots are gone: waits for the hub's last word, `patience` seconds at most.

        Raises NoAnswerError and RefusedError.
        """
        until = min(self._deadline + NOTED_WITHIN, self._clock.monotonic() + patience)
        found: dict[str, Command] = {}
        while True:
            open_ = {id_ for id_ in self._asked if id_ not in found or found[id_].status.status not in judging.ENDED}
            if not open_ or (found and self._clock.monotonic() > until):
                break
            found |= await self._look(open_)
            if any(found[id_].status.status not in judging.ENDED for id_ in open_ if id_ in found):
                await self._clock.sleep(LOOK_EVERY)
            elif open_ - found.keys():
                break  # the hub does not know them
        return [self._end(errand, found.get(id_), excused(errand)) for id_, errand in self._asked.items()]

    def _end(self, errand: Errand, found: Command | None, excused: bool) -> judging.End:
        what = f"{self._name(errand)}: {errand.what.command}"
        if found is None:
            return what, "unknown to the hub"
        return judging.end(what, found.status.status, answered=found.status.answered is not None, excused=excused)

    async def _look(self, wanted: set[str]) -> dict[str, Command]:
        by_robot: dict[str, set[str]] = defaultdict(set)
        for id_ in wanted:
            by_robot[self._name(self._asked[id_])].add(id_)
        found: dict[str, Command] = {}
        robots = iter(by_robot.items())

        async def worker() -> None:
            for robot, ids in robots:
                found.update(await self._api.commands(robot, ids))

        await asyncio.gather(*(worker() for _ in range(TOGETHER)))
        return found

    def _name(self, errand: Errand) -> str:
        return self._names[errand.robot - 1]
