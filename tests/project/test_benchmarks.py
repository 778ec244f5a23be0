"""The benchmarks' own bookkeeping; what they measure is not a test's matter."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import capacity
from benchmarks.publisher import CHANNELS, packets
from botyard_plugins.bench import mqtt
from botyard_schemas import Telemetry, decode

MACHINE = {"cpus": 2, "memory_gib": 23.5, "system": "Linux", "python": "3.11.7", "load": 0.1}


def part(*rows: dict[str, Any], load: float = 0.1) -> dict[str, Any]:
    return {"at": "2026-11-21", "version": "0.1.0", "machine": {**MACHINE, "load": load}, "rows": list(rows)}


def row(store: str, **values: Any) -> dict[str, Any]:
    return {"store": store, "rounds": 5, **values}


STORES = part(*(
    row(store, qos=0, sample_sets_per_message=1, messages_per_s=rate, samples_per_s=4 * rate, hub_cpu_s_per_10k=0.5)
    for store, rate in (("sqlite", 20_000.0), ("postgresql", 18_000.0))
))  # fmt: skip
OUTAGE = part(*(
    row(store, robots=200, outage_s=600.0, times_real_time=6.5, live_p50_ms=20.0, live_p99_ms=90.0,
        bytes_per_sample=size, compacted=True)
    for store, size in (("sqlite", 4.5), ("postgresql", None))
), load=7.0)  # fmt: skip


def test_capacity_table_holds_what_was_measured_and_says_how() -> None:
    text = capacity.render({"stores": STORES, "outage": OUTAGE})
    assert "| Most messages/s (QoS 0, one sample set a message) | 20,000 | 18,000 |" in text
    assert "| 6.5 times | 6.5 times |" in text
    assert "| Bytes a sample on disk | 4.5 | not told |" in text
    assert "* stores: 2026-11-21, version 0.1.0, 2 cores" in text
    assert text.count("the machine was busy") == 1, "only the outage's machine was"
    assert "robots" not in text.partition("Measured on")[2], "what was not measured is left out"


def test_capacity_written_twice_leaves_the_rest_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "capacity.md"
    page.write_text(f"before\n{capacity.BEGIN}\nold\n{capacity.END}\nafter\n")
    monkeypatch.setattr(capacity, "PAGE", page)
    capacity.write({"stores": STORES})
    first = page.read_text()
    capacity.write({"stores": STORES})
    assert page.read_text() == first
    assert first.startswith("before\n")
    assert first.endswith("\nafter\n")
    assert "old" not in first


def test_capacity_page_has_the_place_for_its_table() -> None:
    page = capacity.PAGE.read_text()
    assert page.count(capacity.BEGIN) == page.count(capacity.END) == 1


@pytest.mark.parametrize(("sets", "qos"), [(1, 0), (1, 1), (50, 0)])
def test_publisher_packets_are_numbered_telemetry_that_keeps_the_contract(sets: int, qos: int) -> None:
    seen: dict[str, list[int]] = {}
    for packet in packets(3, 10, sets, qos):
        ((first, body),) = mqtt.split(packet)[0]
        envelope = decode(mqtt.published(first, body)[1])
        assert isinstance(envelope.body, Telemetry)
        (group,) = envelope.body.groups
        assert (len(group.channels), len(group.dt)) == (CHANNELS, sets)
        seen.setdefault(envelope.robot, []).append(envelope.seq)
    assert seen == {"bench-0": [1, 2, 3, 4], "bench-1": [1, 2, 3], "bench-2": [1, 2, 3]}
