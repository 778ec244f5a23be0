"""Mosquitto's own clients, which we did not write, against the hub: with the embedded broker and with Mosquitto."""

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from botyard_schemas import topics
from botyard_schemas.validation import NAMES, schema
from tests.processes import HubProcess, Running, wait_until

pytestmark = pytest.mark.mosquitto


def where(hub: HubProcess) -> list[str]:
    port = hub.broker_url.rpartition(":")[2]
    return ["-h", "127.0.0.1", "-p", port, "-V", "mqttv311"]


def publish(hub: HubProcess, topic: str, payload: str, *arguments: str) -> None:
    command = [shutil.which("mosquitto_pub") or "mosquitto_pub", *where(hub), "-t", topic, "-s", *arguments]
    subprocess.run(command, input=payload, text=True, check=True, timeout=20)


def telemetry(robot: str, seq: int, value: object, **changes: Any) -> str:
    groups = [{"dt": [0], "channels": [{"name": "probe", "values": [value]}]}]
    envelope = {"v": 1, "robot": robot, "epoch": "e1", "seq": seq, "ts": time.time_ns() // 1000, "type": "telemetry"}
    return json.dumps({**envelope, "body": {"groups": groups}, **changes})


def read_values(hub: HubProcess, robot: str) -> list[float]:
    return [item["value"] for item in hub.all_items("readings", robot=robot, channel="probe")]


def test_mosquitto_pub_good_and_bad_messages_are_stored_or_quarantined(any_hub: HubProcess) -> None:
    topic = topics.up("foreign", "telemetry")
    for seq, qos in ((1, "0"), (2, "1"), (4, "2")):
        publish(any_hub, topic, telemetry("foreign", seq, seq), "-q", qos)
    publish(any_hub, topic, '{"v": 1, "robot": "for')
    publish(any_hub, topic, telemetry("foreign", 5, "hot"))
    publish(any_hub, topic, telemetry("foreign", 6, 6, v=9))
    publish(any_hub, topic, telemetry("foreign", 7, 7).replace("[7]", "[NaN]"))
    publish(any_hub, topic, telemetry("foreign", 8, 8, ts=1))
    publish(any_hub, topic, telemetry("other", 9, 9))
    publish(any_hub, topics.up("foreign", "gossip"), telemetry("foreign", 10, 10, type="gossip"))
    publish(any_hub, topic, telemetry("foreign", 11, 11, padding="x" * 300_000))
    publish(any_hub, topic, telemetry("foreign", 3, 3))
    publish(any_hub, topic, telemetry("foreign", 2, 2))

    wait_until(lambda: any_hub.get("hub")["counters"].get("duplicate"), "the duplicate was seen")
    wait_until(lambda: sorted(read_values(any_hub, "foreign")) == [1, 2, 3, 4], "the good ones are stored, each once")
    wait_until(lambda: len(any_hub.all_items("quarantine", robot="foreign")) == 8, "the bad ones are in quarantine")
    refused = {item["reason"]: item["detail"] for item in any_hub.all_items("quarantine", robot="foreign")}
    assert set(refused) == {
        "malformed_json", "schema", "wrong_version", "absurd_time", "topic_mismatch", "unknown_type", "oversized",
    }  # fmt: skip
    assert "body.groups[0].channels[0].values[0]" in refused["schema"]
    counters = any_hub.get("hub")["counters"]
    assert counters["out_of_order"] >= 1
    assert counters["refused.malformed_json"] == 2  # half a message, and NaN


def test_mosquitto_sub_reads_messages_that_keep_the_schemas(
    any_hub: HubProcess, start_edge: Any, tmp_path: Path
) -> None:
    command = [shutil.which("mosquitto_sub") or "mosquitto_sub", *where(any_hub), "-t", "botyard/#", "-F", "%t %p"]
    listener = Running(command, tmp_path, "sub")
    try:
        start_edge({"robot": "sim-1", "link": {"url": any_hub.broker_url}, "drivers": {"sim": {}}})

        def read() -> list[tuple[str, Any]]:
            lines = [line.partition(" ") for line in listener.output().splitlines() if line.endswith("}")]
            return [(topic, json.loads(payload)) for topic, _, payload in lines]

        wanted = {"telemetry", "state", "presence", "ack"}
        wait_until(lambda: wanted <= {message["type"] for _, message in read()}, f"mosquitto_sub reads {wanted}")
    finally:
        listener.stop()
    for topic, message in read():
        address = topics.parse(topic)
        assert address is not None
        assert (address.robot, address.type) == (message["robot"], message["type"])
        jsonschema.Draft202012Validator(schema("envelope")).validate(message)
        assert message["type"] in NAMES
        jsonschema.Draft202012Validator(schema(message["type"])).validate(message["body"])


def test_mosquitto_sub_presence_is_retained_and_a_killed_robot_leaves_its_last_will(
    any_hub: HubProcess, start_edge: Any
) -> None:
    edge = start_edge({"robot": "sim-2", "link": {"url": any_hub.broker_url}, "drivers": {"sim": {}}})
    wait_until(lambda: _retained(any_hub, "sim-2") == ("online", "connected"), "the robot is online")
    wait_until(lambda: _presence(any_hub, "sim-2") == "online", "the hub knows")
    edge.kill()
    wait_until(lambda: _retained(any_hub, "sim-2") == ("offline", "last_will"), "the last will")
    wait_until(lambda: _presence(any_hub, "sim-2") == "offline", "the hub knows")


def _retained(hub: HubProcess, robot: str) -> tuple[str, str] | None:
    command = [shutil.which("mosquitto_sub") or "mosquitto_sub", *where(hub)]
    arguments = ["-t", topics.presence(robot), "-C", "1", "-W", "2"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=20, check=False)
    if not done.stdout:
        return None
    body = json.loads(done.stdout)["body"]
    reason = "connected" if body["reason"] == "heartbeat" else body["reason"]
    return body["status"], reason


def _presence(hub: HubProcess, robot: str) -> str | None:
    found = [item for item in hub.all_items("robots") if item["id"] == robot]
    return found[0]["status"]["presence"]["status"] if found else None
