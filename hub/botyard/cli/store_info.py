"""`botyard store info` and `compact`: what a running hub holds, over its API."""

import datetime as dt

import msgspec
from rich.table import Table

from botyard.cli.asking import DEFAULT_URL, JsonOption, TokenOption, UrlOption, ask
from botyard.cli.console import harmless, out
from botyard.web.models import StoreClass, StoreView

COMPACTED_WITHIN = 60.0  # seconds; the hub answers after half a minute at the latest


def info(url: UrlOption = DEFAULT_URL, token: TokenOption = None, as_json: JsonOption = False) -> None:
    """Show what the store holds, how fast it grows and when its disk is full."""
    content = ask("GET", url, token, "store")
    if as_json:
        out.print_json(content.decode())
    else:
        _show(msgspec.json.decode(content, type=StoreView))


def compact(url: UrlOption = DEFAULT_URL, token: TokenOption = None, as_json: JsonOption = False) -> None:
    """Bring all telemetry into its final form now, which happens by itself some minutes after it came."""
    content = ask("POST", url, token, "store/compact", within=COMPACTED_WITHIN)
    view = msgspec.json.decode(content, type=StoreView)
    if as_json:
        out.print_json(content.decode())
    elif view.waiting.messages:
        out.print(f"compaction goes on: {view.waiting.messages:,} messages wait, {_size(view.waiting.bytes)}")
    else:
        out.print(f"everything is compacted: {_size(view.bytes)}{_each(view)}")


def _show(view: StoreView) -> None:
    out.print(harmless(f"{view.engine} at {view.address}"), markup=False, highlight=False, soft_wrap=True)
    free = "the hub does not see its disk" if view.free_bytes is None else f"{_size(view.free_bytes)} left on the disk"
    limit = "" if view.limit_bytes is None else f" of at most {_size(view.limit_bytes)}"
    out.print(f"{_size(view.bytes)}{limit}, {free}{_each(view)}", highlight=False)
    out.print(f"{view.waiting.messages:,} messages wait for compaction, {_size(view.waiting.bytes)}", highlight=False)
    out.print(_outlook(view), highlight=False)
    table = Table(box=None, header_style="bold")
    for column in ("Data", "Count", "Size", "Oldest", "Newest", "Kept"):
        table.add_column(column, justify="right" if column in ("Count", "Size") else "left")
    for one in view.classes:
        row = (one.name, f"{one.count:,}", _size(one.bytes), _day(one.oldest), _day(one.newest), _kept(one))
        table.add_row(*row)
    out.print(table)


def _each(view: StoreView) -> str:
    return "" if view.bytes_per_sample is None else f", {view.bytes_per_sample:.1f} bytes per sample"


def _outlook(view: StoreView) -> str:
    per_day = view.growth_bytes_per_day
    if per_day is None:
        return "growth is known after an hour"
    change = f"{'grows' if per_day >= 0 else 'shrinks'} by {_size(abs(round(per_day)))} a day"
    return change if view.full_at is None else f"{change}; at this rate there is no room left on {_day(view.full_at)}"


def _kept(one: StoreClass) -> str:
    said = []
    if one.keep_days is not None:
        said.append(f"{one.keep_days:g} days")
    if one.keep_bytes is not None:
        said.append(f"up to {_size(one.keep_bytes)}")
    return ", ".join(said) or "for ever"


def _day(ts: int | None) -> str:
    if ts is None:
        return ""
    try:
        return f"{dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=ts):%Y-%m-%d %H:%M}"
    except OverflowError:
        return f"{ts} µs"


def _size(size: int) -> str:
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
