"""Keeps account of what robots sent, message by message, and compares it with what the hub has stored."""

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from botyard.store.base import Store
from botyard_schemas.messages import SEQUENCED, Channel


class _Group(msgspec.Struct):
    channels: list[Channel]


class _Body(msgspec.Struct, frozen=True):
    """Of telemetry; other messages have no groups."""

    groups: list[_Group] = []


class _Message(msgspec.Struct):
    robot: str
    type: str
    epoch: str = ""
    seq: int = 0
    body: _Body = _Body()


# Robot, epoch, and the last number that was given in it.
Head = tuple[str, str, int]

_decode = msgspec.json.Decoder(_Message).decode


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
            message = _decode(payload)
        except msgspec.DecodeError:
            return  # the hub's quarantine has it
        if message.type not in SEQUENCED:
            return
        seen = self._seen.setdefault((message.robot, message.epoch), set())
        if message.seq in seen:
            self.copies += 1
            return
        seen.add(message.seq)
        self.messages += 1
        for group in message.body.groups:
            for channel in group.channels:
                count = len(channel.values) - channel.values.count(None)
                self._samples[message.robot, channel.name] += count

    async def missing(self, store: Store, heads: Iterable[Head]) -> list[str]:
        """What the hub does not have of the numbers that were given: `heads` are robot, epoch and the last number."""
        return lacking({(one.robot, one.epoch): one.seq for one in await store.positions()}, heads)

    async def doubled(self, store: Store, robots: Iterable[str]) -> list[str]:
        """Channels of which the store holds another number of samples than was sent."""
        return self.unequal(await store.counts(), robots)

    def unequal(self, counts: Mapping[tuple[str, str], int], robots: Iterable[str]) -> list[str]:
        """Channels of these robots of which there is another number of samples than was sent, by robot and channel."""
        stored = Counter(counts)
        sent, mine = self._samples, set(robots)
        return [
            f"{key[0]}: {stored[key]} samples of {key[1]} are stored, {sent[key]} were sent"
            for key in sorted(stored.keys() | sent.keys())
            if key[0] in mine and stored[key] != sent[key]
        ]


def lacking(reached: Mapping[tuple[str, str], int], heads: Iterable[Head]) -> list[str]:
    """What is missing where a robot's epoch has reached a number, and should have reached its head."""
    return [
        f"{robot}: the hub has {reached.get((robot, epoch), 0)} of {head} messages of {epoch}"
        for robot, epoch, head in heads
        if reached.get((robot, epoch), 0) < head
    ]
