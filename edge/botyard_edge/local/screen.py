"""The status of a robot on a terminal: a page of text, with colour where that is wanted."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from botyard_edge.local.door import Answer
from botyard_edge.local.status import Status
from botyard_schemas.messages import Limit, NodeState

# SGR codes; what they mean is also said in words, so nothing is lost without them.
GOOD, BUSY, WARN, BAD, DIM, BOLD = "32", "34", "33", "31", "2", "1"
MODES = {"auto": GOOD, "manual": BUSY, "safe": WARN, "estop": f"{BOLD};{BAD}"}
HEALTH = {"ok": GOOD, "warning": WARN, "error": BAD}
NODES = {"running": GOOD, "starting": BUSY, "backoff": WARN, "failed": BAD, "stopped": DIM}
MEANING = {
    "auto": "commands may move it",
    "manual": "a person drives it",
    "safe": "nothing may move it",
    "estop": "emergency stop",
}
LABEL = 13
# Units as people write them.
SHOWN = {"m/s2": "m/s²", "Cel": "°C"}


class Screen:
    """Draws for a terminal of so many columns."""

    def __init__(self, *, colour: bool, width: int) -> None:
        self._colour = colour
        self._width = max(40, min(width, 110))

    def draw(self, answer: Answer) -> str:
        """The whole page."""
        return "\n".join(self._lines(answer)) + "\n"

    def _lines(self, answer: Answer) -> Iterator[str]:
        status = answer.status
        title = status.robot if status.name in (None, status.robot) else f"{status.name} ({status.robot})"
        up = span((status.now - status.started) / 1e6)
        runs = f"{status.software}, up for {up}" if status.software else f"up for {up}"
        yield f"{self._in(BOLD, title)}  {self._in(DIM, runs)}"
        yield ""
        yield from self._mode(status)
        yield from self._row("health", self._in(HEALTH[status.health], status.health), status.health_reasons)
        yield from self._row("does", status.doing or ("something" if status.busy else "nothing"))
        if status.battery is not None:
            charging = ", charging" if status.battery.charging else ""
            yield from self._row("battery", f"{status.battery.level:.0%}{charging}")
        if status.pose is not None:
            pose = status.pose
            yield from self._row("position", f"{pose.x:.2f}, {pose.y:.2f} m on {pose.frame}")
        yield from self._link(status)
        if status.limits:
            yield ""
            yield from self._limits(status.limits)
        if status.calibration:
            yield ""
            for index, row in enumerate(status.calibration):
                yield from self._row("calibrated" if index == 0 else "", f"{row['name']}  {row['text']}")
        yield ""
        yield from self._nodes(status.nodes)
        if answer.page is not None:
            yield ""
            yield from self._row("page", answer.page)

    def _mode(self, status: Status) -> Iterator[str]:
        mode = self._in(MODES[status.mode], status.mode)
        reasons = [
            f"{one.reason} ({'lasts' if one.active else 'has gone, and waits to be cleared'})" for one in status.causes
        ]
        if not reasons and status.mode_reason:
            reasons = [status.mode_reason]
        yield from self._row("mode", f"{mode}  {MEANING[status.mode]}", reasons)
        if any(one.latched for one in status.causes):
            lasting = any(one.latched and one.active for one in status.causes)
            how = "botyard-edge estop clear" + (", once its cause has gone" if lasting else "")
            yield from self._row("", self._in(DIM, how))

    def _link(self, status: Status) -> Iterator[str]:
        link = status.link
        to = self._in(GOOD, f"connected to {link.to}") if link.to else self._in(WARN, "no connection")
        offset = "" if link.clock_offset is None else f"own clock {_ahead(-link.clock_offset / 1e6)}"
        yield from self._row("hub", to, [offset] if offset else [])
        lost = f", {link.dropped:,} given up" if link.dropped else ""
        yield from self._row("outbox", f"{link.backlog:,} waiting{lost}")

    def _limits(self, limits: Mapping[str, Limit]) -> Iterator[str]:
        for index, (name, limit) in enumerate(limits.items()):
            text = f"{name.replace('_', ' '):19} {shown(name, limit):>11}  {self._in(DIM, limit.on_violation)}"
            yield from self._row("limits" if index == 0 else "", text)

    def _nodes(self, nodes: Mapping[str, NodeState]) -> Iterator[str]:
        longest = max(map(len, nodes), default=0)
        for index, (name, node) in enumerate(sorted(nodes.items(), key=lambda item: item[1].status == "running")):
            again = (
                "" if not node.restarts else f", restarted {'once' if node.restarts == 1 else f'{node.restarts} times'}"
            )
            reason = "" if node.reason is None else f" ({node.reason})"
            text = f"{name:{longest}}  {self._in(NODES[node.status], node.status)}{reason}{again}"
            more = [node.error] if node.error and node.status != "running" else []
            yield from self._row("nodes" if index == 0 else "", text, more)

    def _row(self, label: str, text: str, more: Sequence[str] = ()) -> Iterator[str]:
        yield f"  {self._in(DIM, f'{label:{LABEL - 2}}')}{text}"
        for sentence in more:
            for line in textwrap.wrap(sentence, self._width - LABEL) or [""]:
                yield " " * LABEL + line

    def _in(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and text else text


def shown(name: str, limit: Limit) -> str:
    """The limit's value, with its unit."""
    if name in ("geofence", "keep_out"):
        return f"{limit.value:g} area{'' if limit.value == 1 else 's'}"
    if limit.unit == "1":
        return f"{limit.value:.0%}"
    return f"{limit.value:.4g} {SHOWN.get(limit.unit, limit.unit)}"


def span(seconds: float) -> str:
    """A length of time in its two largest units."""
    whole = max(0, round(seconds))
    for unit, below, size in (("d", "h", 86_400), ("h", "min", 3600), ("min", "s", 60)):
        if whole >= size:
            smaller = {"h": 3600, "min": 60, "s": 1}[below]
            return f"{whole // size} {unit} {whole % size // smaller} {below}"
    return f"{whole} s"


def _ahead(seconds: float) -> str:
    if abs(seconds) < 1.0:
        return f"{abs(seconds) * 1000:.0f} ms {'ahead' if seconds > 0 else 'behind'}"
    return f"{span(abs(seconds))} {'ahead' if seconds > 0 else 'behind'}"
