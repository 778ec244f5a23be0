"""What a real hub says in the end: whether everything arrived, once, and what became of commands."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import msgspec

from botyard.web.models import HubView
from botyard_plugins.simulation import judging, report
from botyard_plugins.simulation.errands import Errands
from botyard_plugins.simulation.hubapi import HubApi, NoAnswerError, RefusedError
from botyard_plugins.simulation.ledger import Ledger, lacking
from botyard_plugins.simulation.report import Invariant
from botyard_plugins.simulation.scenario import Errand

# What cannot be said without the hub.
ASKED = ("nothing is lost", "nothing is doubled", "nothing is refused", "every command is answered")


class Found(msgspec.Struct, frozen=True):
    """How often commands ended how, how often events happened, and what held."""

    commands: dict[str, int]
    events: dict[str, int]
    invariants: list[Invariant]


class Verdict:
    """What the hub knew before the run, and knows after it."""

    def __init__(self, api: HubApi, ledger: Ledger, hub: HubView) -> None:
        self._api = api
        self._ledger = ledger
        self._since = hub.now
        self._before: Counter[tuple[str, str]] = Counter()

    async def begin(self) -> None:
        """Note what the hub holds of earlier robots of these names. Raises NoAnswerError and RefusedError."""
        self._before = Counter(await self._api.counts())

    async def reach(
        self,
        heads: Mapping[str, Mapping[str, int]],
        asked: Errands,
        excused: Callable[[Errand], bool],
        patience: float,
    ) -> Found:
        """Ask the hub; `heads` are the last numbers that robots gave, by epoch. Without an answer nothing holds."""
        try:
            ends = await asked.ends(excused, patience)
            lost = lacking(await self._api.positions(), _flat(heads))
            counts = Counter(await self._api.counts())
            counts.subtract(self._before)
            refused = [one for one in await self._api.refused(self._since) if one.robot in heads]
            events = await self._api.events(self._since)
        except (NoAnswerError, RefusedError) as error:
            sentence = f"the hub's API at {self._api.url} cannot be asked: {error}"
            return Found({}, {}, [Invariant(name, [sentence]) for name in ASKED])
        return Found(
            dict(sorted(Counter(status for _, status in ends).items())),
            report.named(event for event in events if event.robot is None or event.robot in heads),
            [
                Invariant("nothing is lost", lost),
                Invariant("nothing is doubled", self._ledger.unequal(counts, heads)),
                Invariant("nothing is refused", [f"{one.robot}: {one.reason}: {one.detail}" for one in refused]),
                judging.of_commands(ends, asked.unasked),
            ],
        )


def _flat(heads: Mapping[str, Mapping[str, int]]) -> Iterable[tuple[str, str, int]]:
    return [(robot, epoch, head) for robot, epochs in heads.items() for epoch, head in epochs.items()]
