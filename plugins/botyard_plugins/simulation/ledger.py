"""Keeps account of what robots sent, message by message, and compares it with what the hub has stored."""

from collections import Counter
from collections.abc import Iterable

from botyard.store.base import Store
from botyard_schemas import Telemetry, WireError, decode
from botyard_schemas.messages import SEQUENCED

PAGE = 100_000


class Ledger:
    """Hears every message that a robot gives to the network."""

    def __init__(self) -> None:
        self.messages = 0
        self.copies = 0
        self._seen: dict[tuple[str, str], set[int]] = {}
        self._samples: Counter[tuple[str, str]] = Counter()

    @property
    def samples(self) -> int:
        """Samples in all messages, each message once."""
        return self._samples.total()

    def sent(self, payload: bytes) -> None:
        """A robot has given this to the network."""
        try:
            envelope = decode(payload)
        except WireError:
            return  # the hub's quarantine has it
        if envelope.type not in SEQUENCED:
            return
        seen = self._seen.setdefault((envelope.robot, envelope.epoch), set())
        if envelope.seq in seen:
            self.copies += 1
            return
        seen.add(envelope.seq)
        self.messages += 1
        if isinstance(envelope.body, Telemetry):
            for group in envelope.body.groups:
                for channel in group.channels:
                    count = len(channel.values) - channel.values.count(None)
                    self._samples[envelope.robot, channel.name] += count

    async def missing(self, store: Store, heads: Iterable[tuple[str, str, int]]) -> list[str]:
        """What the hub does not have of the numbers that were given: `heads` are robot, epoch and the last number."""
        reached = {(one.robot, one.epoch): one for one in await store.positions()}
        wrong = []
        for robot, epoch, head in heads:
            position = reached.get((robot, epoch))
            if head and (position is None or position.seq < head):
                wrong.append(f"{robot}: the hub has {position.seq if position else 0} of {head} messages of {epoch}")
        return wrong

    async def doubled(self, store: Store, robots: Iterable[str]) -> list[str]:
        """Channels of which the store holds another number of samples than was sent."""
        wrong = []
        for robot in robots:
            stored = await _count(store, robot)
            mine = {key for key in self._samples if key[0] == robot}
            wrong += [
                f"{robot}: {stored[key]} samples of {key[1]} are stored, {self._samples[key]} were sent"
                for key in sorted(stored.keys() | mine)
                if stored[key] != self._samples[key]
            ]
        return wrong


async def _count(store: Store, robot: str) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    cursor = None
    while True:
        page = await store.samples(robots=[robot], limit=PAGE, cursor=cursor)
        found.update((sample.robot, sample.channel) for sample in page.items)
        if (cursor := page.next) is None:
            return found
