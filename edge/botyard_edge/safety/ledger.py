"""Which commands were begun and how they ended, so that none is executed twice, whatever is sent again or restarted."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from botyard_edge.safety.effects import Record
from botyard_schemas.messages import Report

# Ends of commands that are remembered, and of velocities, which come in streams and must not push out the others.
REMEMBERED, OF_STREAMS = 4096, 512
# Bytes of a report above which its result is not remembered.
LARGE = 4096


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
        self._ends: OrderedDict[str, Report] = OrderedDict()
        self._streams: OrderedDict[str, Report] = OrderedDict()

    def end_of(self, command: str) -> Report | None:
        """The final report of a command, when it is remembered."""
        return self._ends.get(command) or self._streams.get(command)

    @property
    def moving(self) -> bool:
        """Whether the robot moves, or may be, because of a command."""
        return self.lasting is not None or any(one.moves for one in self.running.values())

    def begin(self, command: str, begun: Begun) -> Record:
        """A command is about to be executed."""
        self.running[command] = begun
        if begun.lasting:
            self.lasting = begun.name
        return {"begun": command, "name": begun.name, "moves": begun.moves, "lasting": begun.lasting}

    def end(self, report: Report, *, stream: bool = False) -> Record:
        """A command has ended, or was refused."""
        begun = self.running.pop(report.command, None)
        stream = stream or (begun is not None and begun.stream)
        if len(msgspec.json.encode(report)) > LARGE:
            report = msgspec.structs.replace(report, result=None)
        ends, most = (self._streams, OF_STREAMS) if stream else (self._ends, REMEMBERED)
        ends[report.command] = report
        if len(ends) > most:
            ends.popitem(last=False)
        return _ended(report, stream=stream)

    def rest(self) -> Record | None:
        """The robot was brought to rest; None when it did not move on by itself."""
        if self.lasting is None:
            return None
        self.lasting = None
        return {"rest": True}

    def records(self) -> list[Record]:
        """The least records from which `replay` makes the same ledger again."""
        made = [_ended(report, stream=False) for report in self._ends.values()]
        made += [_ended(report, stream=True) for report in self._streams.values()]
        if self.lasting is not None:
            made.append({"moves_on": self.lasting})
        made += [
            {"begun": command, "name": one.name, "moves": one.moves, "lasting": one.lasting}
            for command, one in self.running.items()
        ]
        return made

    def replay(self, records: Iterable[Record]) -> None:
        """Take over what an earlier process wrote. Records that make no sense are passed over."""
        for record in records:
            if "begun" in record:
                self.begin(str(record["begun"]), Begun(*(_of(record, key) for key in ("name", "moves", "lasting"))))
            elif "end" in record:
                try:
                    self.end(msgspec.convert(record["end"], Report), stream=bool(record.get("stream")))
                except msgspec.ValidationError:
                    continue
            elif "moves_on" in record:
                self.lasting = str(record["moves_on"])
            elif "rest" in record:
                self.lasting = None


def _ended(report: Report, *, stream: bool) -> Record:
    return {"end": msgspec.to_builtins(report), **({"stream": True} if stream else {})}


def _of(record: Record, key: str) -> Any:
    return record.get(key, False) if key != "name" else str(record.get(key, "?"))
