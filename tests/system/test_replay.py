"""A real flight log, from the robot's edge client to the API, compared with what is in the file."""

import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyulog import ULog

from tests.processes import HubProcess, Running
from tests.recordings import recording

pytestmark = [pytest.mark.recordings, pytest.mark.timeout(300)]

LOG = "px4_mission.ulg"
Series = dict[str, list[tuple[int, float]]]


def columns_of(path: Path) -> Series:
    """Every finite number of the file by channel, read here once more and independently of the driver."""
    log = ULog(str(path))
    found: Series = {}
    for data in log.data_list:
        prefix = f"{data.name}.{data.multi_id}" if data.multi_id else data.name
        times = np.where(data.data["timestamp"] == 0, log.start_timestamp, data.data["timestamp"])
        for field, values in data.data.items():
            if field == "timestamp" or "_padding" in field:
                continue
            kept = np.isfinite(values.astype(float))
            pairs = sorted(zip(times[kept].tolist(), values[kept].tolist(), strict=True), key=lambda pair: pair[0])
            found[f"{prefix}.{field}"] = [(int(ts), value) for ts, value in pairs]
    return {channel: samples for channel, samples in found.items() if samples}


@pytest.mark.parametrize("topics", ["default", "all"])
def test_flight_log_replayed_at_full_speed_arrives_complete_and_in_order(
    topics: str, start_hub: Callable[..., HubProcess], start_edge: Callable[..., Running]
) -> None:
    path = recording(LOG)
    hub = start_hub()
    options: dict[str, Any] = {"file": str(path), "speed": "max", "start": "recorded"}
    if topics == "all":
        options["topics"] = "all"
    robot = {"robot": "px4", "link": {"url": hub.broker_url}, "drivers": {"replay": {"options": options}}}
    edge = start_edge(robot, "--until-done")
    assert edge.process.wait(200) == 0, edge.output()

    expected = columns_of(path)
    channels = {item["name"]: item for item in hub.get("robots/px4/channels")["items"]}
    measured = {name for name, channel in channels.items() if channel["type"] in ("number", "integer", "boolean")}
    taken = measured & expected.keys()
    assert len(taken) > (1000 if topics == "all" else 20)
    if topics == "all":
        assert taken == expected.keys()
    for channel in sorted(taken):
        compare(hub, channel, expected[channel])
    counters = hub.get("hub")["counters"]
    assert not [name for name in counters if name.startswith("refused")], counters


def compare(hub: HubProcess, channel: str, expected: list[tuple[int, float]]) -> None:
    items = hub.all_items("readings", robot="px4", channel=channel, limit=10_000)
    assert len(items) == len(expected), channel
    assert all(earlier["ts"] <= later["ts"] for earlier, later in itertools.pairwise(items)), channel
    shift = items[0]["ts"] - expected[0][0]  # the log's clock counts from the start of the flight controller
    for item, (ts, value) in ((items[0], expected[0]), (items[-1], expected[-1])):
        assert item["ts"] - ts == shift, channel
        assert math.isclose(item["value"], value, rel_tol=1e-6, abs_tol=1e-9), channel


def test_flight_log_replayed_shows_position_battery_and_messages(
    start_hub: Callable[..., HubProcess], start_edge: Callable[..., Running]
) -> None:
    path = recording(LOG)
    hub = start_hub()
    options = {"file": str(path), "speed": "max", "start": "recorded"}
    robot = {"robot": "px4", "link": {"url": hub.broker_url}, "drivers": {"replay": {"options": options}}}
    edge = start_edge(robot, "--until-done")
    assert edge.process.wait(200) == 0, edge.output()

    log = ULog(str(path))
    position = next(data for data in log.data_list if data.name == "vehicle_global_position").data
    geo = hub.get("readings/latest", robot="px4", channel="geo")["items"][0]
    assert geo["type"] == "geo"
    assert geo["value"]["lat"] == pytest.approx(position["lat"][-1])
    assert geo["value"]["lon"] == pytest.approx(position["lon"][-1])
    state = hub.get("robots/px4/state")["state"]
    assert state["geo"]["lat"] == pytest.approx(position["lat"][-1])
    battery = next(data for data in log.data_list if data.name == "battery_status").data
    assert state["battery"]["level"] == pytest.approx(float(battery["remaining"][-1]), abs=1e-3)
    told = {event["message"] for event in hub.all_items("events", robot="px4")}
    logged = {re.sub("\x1b\\[[0-9;]*m", "", message.message).strip() for message in log.logged_messages}
    missing = [text for text in logged if not any(text in (message or "") for message in told)]
    assert not missing
