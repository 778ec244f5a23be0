"""A result on the terminal."""

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from botyard_plugins.bench.result import Result
from botyard_plugins.bench.statistics import Percentiles


def render(result: Result) -> RenderableType:
    """Everything that a person wants to know first."""
    return Group(*_parts(result))


def show(result: Result, console: Console) -> None:
    """Print a result."""
    console.print(render(result))


def _parts(result: Result) -> Iterator[RenderableType]:
    through = result.throughput
    yield Text.assemble(
        (f"{through.messages_per_s:,.0f} messages/s", "bold"), ", ",
        (f"{through.samples_per_s:,.0f} samples/s", "bold"), f" committed over {through.seconds:.1f} s",
    )  # fmt: skip
    yield _latencies(result)
    yield _costs(result)
    if outage := result.outage:
        yield Text(
            f"Outage of {outage.seconds:g} s ({outage.messages:,} messages): drained in {outage.drained_s:g} s, "
            f"{outage.times_real_time:g} times real time"
        )
    if disk := result.disk:
        how = {True: "compacted", False: "not all compacted yet", None: "compaction unknown"}[disk.compacted]
        yield Text(f"Store: {disk.bytes / 2**20:,.1f} MiB, {disk.bytes_per_sample:g} bytes a sample ({how})")
    if result.resent or result.reconnects or result.skipped:
        yield Text(
            f"{result.resent:,} messages sent again, {result.reconnects:,} reconnects, {result.skipped:,} samples "
            "left out for the browser"
        )
    yield from _warnings(result)
    yield _verdict(result)


def _latencies(result: Result) -> Table:
    table = Table(box=None, header_style="bold", title_justify="left", pad_edge=False)
    table.add_column("Latency in ms")
    for column in ("p50", "p95", "p99", "max", "of"):
        table.add_column(column, justify="right")
    rows: list[tuple[str, Percentiles | None]] = [
        ("publish → committed", result.latency.committed),
        ("publish → browser", result.latency.browser),
        ("generator's own lateness", result.latency.generator_late),
    ]
    if result.outage:
        rows.insert(2, ("publish → browser while draining", result.outage.browser))
    for name, found in rows:
        if found:
            numbers = (f"{value:,.1f}" for value in (found.p50, found.p95, found.p99, found.max))
            table.add_row(name, *numbers, f"{found.count:,}")
    return table


def _costs(result: Result) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("Process")
    for column in ("CPU % of a core", "CPU s per 10,000", "RSS MiB", "USS MiB"):
        table.add_column(column, justify="right")
    for name, cost in result.cost.items():
        numbers = (cost.cpu_percent, cost.cpu_s_per_10k, cost.rss_mib, cost.uss_mib)
        table.add_row(name, *(f"{number:,g}" for number in numbers))
    return table


def _warnings(result: Result) -> Iterator[Text]:
    late = result.latency.generator_late
    if late and late.p99 > 50:
        yield Text(
            f"! The generator was late by {late.p99:,.0f} ms (p99): it needs another machine or more --generators.",
            "yellow",
        )
    if result.plan["speed"] == "rate":
        wanted = result.plan["robots"] * result.plan["rate"]
        if result.throughput.messages_per_s < 0.97 * wanted:
            yield Text(f"! The hub did not keep up with {wanted:,.0f} messages/s.", "yellow")


def _verdict(result: Result) -> Text:
    checked = result.verified
    if checked.ok:
        return Text.assemble(
            ("✓ ", "bold green"),
            f"all {checked.messages:,} messages were acknowledged, and the store holds exactly their "
            f"{checked.samples:,} samples in {checked.series:,} series",
        )
    words = [f"{checked.unacknowledged:,} of {checked.messages:,} messages were not acknowledged"] * bool(
        checked.unacknowledged
    )
    if checked.wrong:
        words.append(f"the store holds {checked.samples_stored:,} samples instead of {checked.samples:,}, for example")
    return Text.assemble(("✗ ", "bold red"), "; ".join(words), *(f"\n    {line}" for line in checked.wrong))
