"""What a stop, a crash or a lost broker leaves behind."""

import itertools
import json
import signal
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from botyard_schemas import topics
from tests.processes import HubProcess, Running, wait_until

ROBOT: dict[str, Any] = {"robot": "sim-1", "drivers": {"sim": {}}}


def samples(hub: HubProcess) -> int:
    return int(hub.get("hub")["counters"].get("samples", 0))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_hub_stopped_commits_what_it_received_and_leaves_no_process(
    number: signal.Signals, start_hub: Callable[..., HubProcess]
) -> None:
    hub = start_hub({"ingest": {"batch_age": 60.0}})  # nothing is committed by itself
    groups = [{"dt": [0], "channels": [{"name": "probe", "values": [1.5]}]}]
    family = hub.family()
    envelope = {"v": 1, "robot": "r", "epoch": "e", "seq": 1, "ts": time.time_ns() // 1000, "type": "telemetry"}
    _publish(hub, topics.up("r", "telemetry"), json.dumps({**envelope, "body": {"groups": groups}}))
    wait_until(lambda: samples(hub) == 1, "the sample came in")
    assert hub.all_items("readings") == []
    assert hub.stop(number) == 0, hub.output()
    assert not [one for one in psutil.wait_procs(family, timeout=3)[1] if one.status() != psutil.STATUS_ZOMBIE]
    assert "Traceback" not in hub.output()
    hub.start()
    assert [item["value"] for item in hub.all_items("readings")] == [1.5]


def test_hub_killed_takes_its_broker_and_helpers_with_it_and_starts_again(start_hub: Callable[..., HubProcess]) -> None:
    hub = start_hub()
    family = hub.family()
    assert len(family) >= 3
    hub.kill()
    assert not [one for one in psutil.wait_procs(family, timeout=5)[1] if one.status() != psutil.STATUS_ZOMBIE]
    hub.start()
    assert hub.get("hub")["broker"]["connected"]


def test_hub_restarted_loses_and_doubles_nothing_of_a_running_robot(
    start_hub: Callable[..., HubProcess], start_edge: Callable[..., Running]
) -> None:
    hub = start_hub()
    edge = start_edge({**ROBOT, "link": {"url": hub.broker_url, "reconnect_max": 1.0, "resend_after": 1.0}})
    wait_until(lambda: samples(hub) > 50, "samples come in")
    hub.kill()
    hub.start()
    wait_until(lambda: samples(hub) > 50, "samples come in again")
    assert edge.stop() == 0, edge.output()
    values = hub.all_items("readings", robot="sim-1", channel="gripper.force", limit=5000)
    times = [item["ts"] for item in values]
    assert len(set(times)) == len(times), "a sample is there twice"
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert max(gaps) < 250_000, "a sample is missing: the force is sampled ten times a second"


def test_broker_killed_is_started_again_and_said_once(
    start_hub: Callable[..., HubProcess], start_edge: Callable[..., Running]
) -> None:
    hub = start_hub()
    start_edge({**ROBOT, "link": {"url": hub.broker_url, "reconnect_max": 1.0, "resend_after": 1.0}})
    wait_until(lambda: samples(hub) > 20, "samples come in")
    broker = next(one for one in hub.family() if "nats-server" in " ".join(one.cmdline()))
    broker.kill()
    wait_until(lambda: not hub.get("hub")["broker"]["connected"], "the hub noticed")
    assert hub.get("robots")["items"], "the hub serves what it has"
    seen = samples(hub)
    wait_until(lambda: samples(hub) > seen + 20, "samples come in again")
    said = [line for line in hub.output().splitlines() if "ERROR" in line or "WARNING" in line]
    assert len(said) == 1
    assert "ended by itself" in said[0]


def test_external_broker_down_at_start_and_later_is_said_once_and_recovers(
    start_hub: Callable[..., HubProcess], mosquitto: Any
) -> None:
    hub = start_hub({"broker": {"url": mosquitto.url}}, ready=False)
    wait_until(lambda: hub.api.get("/healthz").status_code == 200, "the hub serves without its broker")
    assert hub.api.get("/readyz").status_code == 503
    time_to_fail = wait_until(lambda: hub.output().count("no connection to the broker"), "the hub says so")
    mosquitto.start()
    wait_until(lambda: hub.api.get("/readyz").status_code == 200, "it recovers")
    assert hub.output().count("no connection to the broker") == time_to_fail == 1
    mosquitto.stop()
    wait_until(lambda: hub.api.get("/readyz").status_code == 503, "the hub notices")
    mosquitto.start()
    wait_until(lambda: hub.api.get("/readyz").status_code == 200, "it recovers again")
    assert hub.output().count("no connection to the broker") == 2


def _publish(hub: HubProcess, topic: str, payload: str) -> None:
    import paho.mqtt.publish

    port = int(hub.broker_url.rpartition(":")[2])
    paho.mqtt.publish.single(topic, payload, qos=1, hostname="127.0.0.1", port=port, client_id="test-publisher")
