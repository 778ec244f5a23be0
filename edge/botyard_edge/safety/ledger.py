"""Which commands were begun and how they ended, so that none is executed twice, whatever is sent again or restarted."""

import itertools
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from botyard_edge.safety.effects import Record
from botyard_schemas.messages import Report

# Ends of commands that are remembered: of those that were executed, and of those that were refused. Velocities come in
# streams. None of the three pushes out another.
REMEMBERED, REFUSED, OF_STREAMS = 4096, 4096, 512
# Bytes of a report above which its result is not remembered, and characters of its reason that are: the hub had all of
# it, in the report itself.
LARGE, REASON = 512, 256

Kind = Literal["executed", "refused", "stream"]


@dataclass(frozen=True, slots=True)
class Begun:
    """A command that is being executed: `moves` the robot, and it goes on moving afterwards (`lasting`). It may be one
    of a `stream` of velocities."""

    name: str
    moves: bool
    lasting: bool
    stream: bool = False


class Ledger:
    """In memory; what it must remember across a restart comes out as records and is read back by `replay`."""

    def __init__(self) -> None:
        self.running: dict[str, Begun] = {}
        self.lasting: str | None = None
        # What became of the attempt to go home in this outage of the link; None: there was none.
        self.return_to_dock: str | None = None
        self._ends: dict[Kind, OrderedDict[str, Report]] = {kind: OrderedDict() for kind in _MOST}

    def end_of(self, command: str) -> Report | None:
        """The final report of a command, when it is remembered."""
        return next((found for ends in self._ends.values() if (found := ends.get(command)) is not None), None)

    @property
    def moving(self) -> bool:
        """Whether the robot moves, or may be, because of a command."""
        return self.lasting is not None or any(one.moves for one in self.running.values())

    def begin(self, command: str, begun: Begun) -> Record:
        """A command is about to be executed."""
        self.running[command] = begun
        if begun.lasting:
            self.lasting = begun.name
        return _begun(command, begun)

    def end(self, report: Report, *, stream: bool = False, refused: bool = False) -> Record:
        """A command has ended, or was `refused`. It may be one of a `stream`."""
        begun = self.running.pop(report.command, None)
        if report.reason is not None and len(report.reason) > REASON:
            report = msgspec.structs.replace(report, reason=report.reason[: REASON - 1] + "…")
        if report.result is not None and len(msgspec.json.encode(report)) > LARGE:
            report = msgspec.structs.replace(report, result=None)
        kind: Kind = "refused" if refused else "executed"
        if stream or (begun is not None and begun.stream):
            kind = "stream"
        ends = self._ends[kind]
        ends[report.command] = report
        if len(ends) > _MOST[kind]:
            ends.popitem(last=False)
        return _ended(report, kind)

    def rest(self) -> Record | None:
        """The robot was brought to rest; None when it did not move on by itself."""
        if self.lasting is None:
            return None
        self.lasting = None
        return {"rest": True}

    def tried(self, outcome: str | None) -> Record:
        """What has become of the way home; None: the outage has ended."""
        self.return_to_dock = outcome[:REASON] if outcome is not None else None
        return {"return_to_dock": self.return_to_dock}

    def records(self) -> Iterator[Record]:
        """The least records from which `replay` makes the same ledger again. As it is now, whenever they are taken."""
        ended = [(kind, tuple(ends.values())) for kind, ends in self._ends.items()]
        rest = [_begun(command, one) for command, one in self.running.items()]
        # Last, since a command that is still running may have been brought to rest already.
        rest.append({"rest": True} if self.lasting is None else {"moves_on": self.lasting})
        if self.return_to_dock is not None:
            rest.append({"return_to_dock": self.return_to_dock})
        return itertools.chain((_ended(report, kind) for kind, reports in ended for report in reports), rest)

    def replay(self, records: Iterable[Record]) -> None:
        """Take over what an earlier process wrote. Records that make no sense are passed over."""
        for record in records:
            if "begun" in record:
                self.begin(str(record["begun"]), Begun(*(_of(record, key) for key in ("name", "moves", "lasting"))))
            elif "end" in record:
                try:
                    report = msgspec.convert(record["end"], Report)
                    self.end(report, stream=bool(record.get("stream")), refused=bool(record.get("refused")))
                except msgspec.ValidationError:
                    continue
            elif "return_to_dock" in record:
                outcome = record["return_to_dock"]
                self.return_to_dock = None if outcome is None else str(outcome)
            elif "moves_on" in record:
                self.lasting = str(record["moves_on"])
            elif "rest" in record:
                self.lasting = None


_MOST: dict[Kind, int] = {"executed": REMEMBERED, "refused": REFUSED, "stream": OF_STREAMS}


def _begun(command: str, begun: Begun) -> Record:
    return {"begun": command, "name": begun.name, "moves": begun.moves, "lasting": begun.lasting}


def _ended(report: Report, kind: Kind) -> Record:
    return {"end": msgspec.to_builtins(report), **({} if kind == "executed" else {kind: True})}


def _of(record: Record, key: str) -> Any:
    return record.get(key, False) if key != "name" else str(record.get(key, "?"))
