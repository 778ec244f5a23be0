"""The hub as a client of a broker: embedded or any other, there or not."""

import asyncio
import json
import logging
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import httpx
import pytest

from botyard.core.hub import Hub
from botyard.testing import hub_config, wait_until
from botyard.transport.mqtt import Address, MqttTransport
from botyard_schemas import topics
from tests.hub.support import make_flaky
from tests.processes import Mosquitto, free_port


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path)
    yield broker
    broker.stop()


@asynccontextmanager
async def hub_with(folder: Path, **sections: Any) -> AsyncIterator[tuple[Hub, MqttTransport]]:
    """A hub with all its own parts."""
    async with Hub(hub_config(folder, **sections)) as hub:
        transport = hub.transports[0]
        assert isinstance(transport, MqttTransport)
        yield hub, transport


@asynccontextmanager
async def robot_at(address: str, **options: Any) -> AsyncIterator[aiomqtt.Client]:
    """Somebody else's MQTT client."""
    host, _, port = address.removeprefix("mqtt://").rpartition(":")
    async with aiomqtt.Client(host, int(port), **options) as client:
        yield client


def message(seq: int, robot: str = "r", **changes: Any) -> str:
    groups = [{"dt": [0], "channels": [{"name": "x", "values": [seq]}]}]
    raw = {"v": 1, "robot": robot, "epoch": "e", "seq": seq, "ts": 1_763_712_000_000_000 + seq, "type": "telemetry"}
    return json.dumps({**raw, "body": {"groups": groups}, **changes})


async def api(hub: Hub, path: str, **query: Any) -> Any:
    async with httpx.AsyncClient(base_url=hub.web_url or "") as client:
        return (await client.get(f"/api/v1/{path}", params=query)).json()


async def values(hub: Hub, robot: str = "r") -> list[float]:
    return [item["value"] for item in (await api(hub, "readings", robot=robot))["items"]]


async def until_stored(hub: Hub, wanted: list[float], robot: str = "r") -> None:
    async with asyncio.timeout(20):
        while sorted(found := await values(hub, robot)) != wanted:
            assert len(found) <= len(wanted)
            await asyncio.sleep(0.02)


async def until_acknowledged(client: aiomqtt.Client, seq: int) -> None:
    async with asyncio.timeout(20):
        async for received in client.messages:
            if json.loads(received.payload)["body"] == {"epoch": "e", "seq": seq}:
                return


async def test_mqtt_message_is_stored_and_acknowledged_over_the_embedded_broker(tmp_path: Path) -> None:
    async with hub_with(tmp_path) as (hub, transport):
        assert transport.address.startswith("mqtt://127.0.0.1:")
        await wait_until(lambda: transport.connected)
        async with robot_at(transport.address) as robot:
            await robot.subscribe(topics.down("r", "ack"))
            for seq in (1, 2, 3):
                await robot.publish(topics.up("r", "telemetry"), message(seq), qos=seq % 2)
            await until_acknowledged(robot, 3)
            assert await values(hub) == [1, 2, 3]
        broker = (await api(hub, "hub"))["broker"]
        assert broker == {"connected": True, "address": transport.address, "embedded": True, "error": None}


async def test_mqtt_message_that_is_too_large_reaches_the_quarantine(tmp_path: Path) -> None:
    async with hub_with(tmp_path) as (hub, transport):
        await wait_until(lambda: transport.connected)
        async with robot_at(transport.address) as robot:
            await robot.publish(topics.up("r", "telemetry"), b"x" * 400_000, qos=1)
            await robot.publish(topics.up("r", "telemetry"), b"x" * 8_000_000, qos=1)
            await robot.publish(topics.up("r", "telemetry"), message(1), qos=1)
        await until_stored(hub, [1])
        kept = (await api(hub, "quarantine"))["items"]
        assert [(one["reason"], one["size"]) for one in kept] == [("oversized", 8_000_000), ("oversized", 400_000)]


async def test_mqtt_hub_with_the_largest_message_limit_has_a_broker_that_starts(tmp_path: Path) -> None:
    async with hub_with(tmp_path, ingest={"max_message_bytes": 16 * 1024 * 1024}) as (_, transport):
        await wait_until(lambda: transport.connected)


async def test_mqtt_broker_that_is_killed_comes_back_and_the_hub_with_it_and_both_are_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        async with hub_with(tmp_path) as (hub, transport):
            await wait_until(lambda: transport.connected)
            assert transport.broker
            assert transport.broker.pid
            os.kill(transport.broker.pid, signal.SIGKILL)
            await wait_until(lambda: not transport.connected)
            assert "not connected" in (await api_status(hub, "/readyz"))
            await wait_until(lambda: transport.connected)
            assert await api_status(hub, "/readyz") == "ready\n"
            async with robot_at(transport.address) as robot:
                await robot.publish(topics.up("r", "telemetry"), message(1), qos=1)
            await until_stored(hub, [1])
            names = [event["name"] for event in (await api(hub, "events", name="broker"))["items"]][::-1]
            assert names == ["broker.connected", "broker.lost", "broker.connected"]
    # one line for the loss, by the one who knows the cause
    assert caplog.text.count("no connection to the broker") == 0
    assert caplog.text.count("connected to the broker") == 2
    assert caplog.text.count("ended by itself") == 1


async def api_status(hub: Hub, path: str) -> str:
    async with httpx.AsyncClient(base_url=hub.web_url or "") as client:
        return (await client.get(path)).text


async def test_mqtt_broker_for_other_machines_asks_robots_for_the_token(tmp_path: Path) -> None:
    async with hub_with(tmp_path, broker={"host": "0.0.0.0"}) as (hub, transport):
        await wait_until(lambda: transport.connected)
        token = (tmp_path / "data" / "token").read_text().strip()
        for options in ({}, {"username": "robot", "password": "wrong"}, {"username": "robot"}):
            with pytest.raises(aiomqtt.MqttError):
                async with robot_at(transport.address, **options):
                    pass
        async with robot_at(transport.address, username="r", password=token) as robot:
            await robot.publish(topics.up("r", "telemetry"), message(1), qos=1)
        await until_stored(hub, [1])


async def test_mqtt_robot_that_was_removed_does_not_come_back_from_what_the_broker_retains(tmp_path: Path) -> None:
    presence = {"v": 1, "robot": "r", "ts": 1, "type": "presence", "body": {"status": "online", "session": "s"}}
    async with hub_with(tmp_path) as (hub, transport):
        await wait_until(lambda: transport.connected)
        async with robot_at(transport.address) as robot:
            for name in ("r", "stays"):
                text = json.dumps({**presence, "robot": name})
                await robot.publish(topics.presence(name), text, qos=1, retain=True)
        await wait_until(lambda: len(hub.fleet) == 2)
        async with httpx.AsyncClient(base_url=hub.web_url or "") as client:
            assert (await client.delete("/api/v1/robots/r")).status_code == 204
        async with robot_at(transport.address) as robot:
            await robot.publish(topics.up("stays", "telemetry"), message(1, "stays"), qos=1)
        await until_stored(hub, [1], "stays")
        assert (await api(hub, "quarantine"))["items"] == []
    async with hub_with(tmp_path) as (hub, transport):
        await wait_until(lambda: hub.ingest and hub.ingest.counters["received"] > 0)
        assert hub.fleet.get("stays")
        assert hub.fleet.get("r") is None


@pytest.mark.mosquitto
async def test_mqtt_external_broker_that_is_down_at_start_is_said_once_and_found_when_it_comes(
    tmp_path: Path, mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        async with hub_with(tmp_path, broker={"url": mosquitto.url}) as (hub, transport):
            await wait_until(lambda: "no connection to the broker" in caplog.text)
            broker = (await api(hub, "hub"))["broker"]
            assert (broker["connected"], broker["embedded"], broker["address"]) == (False, False, mosquitto.url)
            assert broker["error"]
            assert (await api(hub, "robots"))["items"] == []
            await asyncio.sleep(1.0)  # some more attempts, of which nothing is said
            await asyncio.to_thread(mosquitto.start)
            await wait_until(lambda: transport.connected)
            async with robot_at(mosquitto.url) as robot:
                await robot.publish(topics.up("r", "telemetry"), message(1), qos=1)
            await until_stored(hub, [1])

            await asyncio.to_thread(mosquitto.stop)
            await wait_until(lambda: not transport.connected)
            assert await values(hub) == [1]
            await asyncio.to_thread(mosquitto.start)
            await wait_until(lambda: transport.connected)
            async with robot_at(mosquitto.url) as robot:
                await robot.publish(topics.up("r", "telemetry"), message(2), qos=1)
            await until_stored(hub, [1, 2])
    assert caplog.text.count("no connection to the broker") == 2
    assert caplog.text.count(f"connected to the broker at {mosquitto.url}") == 2


async def test_mqtt_broker_is_not_taken_for_silent_while_the_hub_is_the_one_that_does_not_listen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botyard.transport.client.KEEPALIVE", 1)
    monkeypatch.setattr("botyard.transport.client.PAUSE_ABOVE", 1000)
    flaky = make_flaky(monkeypatch)
    async with hub_with(tmp_path, ingest={"batch_samples": 20}) as (hub, transport):
        await wait_until(lambda: transport.connected)
        connection = transport._client
        assert connection
        async with robot_at(transport.address) as robot:
            await robot.publish(topics.up("r", "telemetry"), message(1), qos=1)
            await until_stored(hub, [1])
            flaky().broken = True
            for seq in range(2, 102):
                await robot.publish(topics.up("r", "telemetry"), message(seq), qos=1)
        await wait_until(lambda: connection._paused)
        await asyncio.sleep(2.5)  # longer than a broker may be silent here
        assert transport._client is connection
        assert connection._lost is None
        flaky().broken = False
        await until_stored(hub, [float(seq) for seq in range(1, 102)])
        assert transport._client is connection


@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".example"])
async def test_mqtt_external_broker_with_an_impossible_name_does_not_end_the_hub(tmp_path: Path, host: str) -> None:
    async with hub_with(tmp_path, broker={"url": f"mqtt://{host}"}) as (hub, transport):
        await wait_until(lambda: transport.error != "not connected yet")
        assert (await api(hub, "hub"))["broker"]["error"] == f"{host!r} is no name that a host can have"


async def test_mqtt_listener_that_is_no_broker_does_not_end_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botyard.transport.client.CONNECT_WITHIN", 0.2)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    port = free_port()
    async with (
        await asyncio.start_server(talk, "127.0.0.1", port),
        hub_with(tmp_path, broker={"url": f"mqtt://127.0.0.1:{port}"}) as (hub, transport),
    ):
        await wait_until(lambda: transport.error != "not connected yet")
        assert (await api(hub, "hub"))["broker"]["connected"] is False


@pytest.mark.parametrize(
    ("url", "shown", "host", "port", "username", "password"),
    [
        ("mqtt://example.org", "mqtt://example.org:1883", "example.org", 1883, None, None),
        ("mqtts://example.org/", "mqtts://example.org:8883", "example.org", 8883, None, None),
        ("mqtt://u:p%40ss@h:1", "mqtt://h:1", "h", 1, "u", "p@ss"),
        ("mqtt://[::1]:1884", "mqtt://[::1]:1884", "::1", 1884, None, None),
    ],
)
def test_address_of_a_broker_is_read_from_its_url_and_shown_without_credentials(
    url: str, shown: str, host: str, port: int, username: str | None, password: str | None
) -> None:
    address = Address.from_url(url)
    assert str(address) == shown
    assert (address.host, address.port, address.username, address.password) == (host, port, username, password)
