"""Robots whose way to the hub fails, with real hubs, robots and networks."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.processes import HubProcess, Mosquitto, Running, wait_until
from tests.relay import Relay

QUICK = {"reconnect_max": 0.5, "resend_after": 1.0, "connect_within": 3.0, "return_after": 1.0, "keepalive": 2}


def counting(link: dict[str, Any], **settings: Any) -> dict[str, Any]:
    base = {"robot": "r1", "plugins": ["tests.counter"], "drivers": {"counter": {}}, "telemetry": {"max_age": 0.1}}
    return {**base, "link": {**QUICK, **link}, **settings}


def sockets(hub: HubProcess) -> int:
    """How many robots are on the hub's own WebSocket."""
    return int(next(one["connections"] for one in hub.get("hub")["transports"] if one["name"] == "websocket"))


def samples(hub: HubProcess) -> int:
    return int(hub.get("hub")["counters"].get("samples", 0))


def more(hub: HubProcess) -> None:
    """Wait until more comes in."""
    known = samples(hub)
    wait_until(lambda: samples(hub) > known + 10, "samples come in")


def check_numbers(hub: HubProcess) -> None:
    """Everything that was counted is in the store, once."""
    items = hub.all_items("readings", robot="r1", channel="count", limit=5000)
    numbers = sorted(item["value"] for item in items)
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 10


def told(edge: Running) -> list[str]:
    """What the edge says of its connections, with `mqtt` and `ws` for their addresses."""
    lines = re.findall(r"(no connection to|connected to) (\S+?)(?:\s|:\s|$)", edge.output(), re.MULTILINE)
    return [f"{what} {'ws' if where.startswith('ws') else 'mqtt'}" for what, where in lines]


@pytest.fixture
def network(start_hub: Callable[..., HubProcess]) -> Iterator[tuple[HubProcess, Relay]]:
    hub = start_hub()
    with Relay(hub.broker_port) as relay:
        yield hub, relay


def test_robot_whose_broker_is_cut_off_and_silent_goes_on_over_the_socket_and_comes_back(
    network: tuple[HubProcess, Relay], start_edge: Callable[..., Running]
) -> None:
    hub, relay = network
    ways = [{"url": f"mqtt://127.0.0.1:{relay.port}"}, {"url": f"ws://127.0.0.1:{hub.port}"}]
    edge = start_edge(counting({"transports": ways}))
    more(hub)
    for fail in (relay.cut, relay.hold):
        fail()
        wait_until(lambda: sockets(hub) == 1, "the robot is on the socket")
        more(hub)
        relay.heal()
        wait_until(lambda: sockets(hub) == 0, "the robot is back on the broker")
        more(hub)
    assert edge.stop() == 0, edge.output()
    assert "messages are left" not in edge.output()
    check_numbers(hub)
    episode = ["no connection to mqtt", "connected to ws", "connected to mqtt"]
    assert told(edge) == ["connected to mqtt", *episode, *episode]
    presence = hub.get("robots/r1")["status"]["presence"]
    assert (presence["status"], presence["reason"]) == ("offline", "stopped")


def test_robot_on_the_socket_notices_a_network_that_falls_silent(
    start_hub: Callable[..., HubProcess], start_edge: Callable[..., Running]
) -> None:
    hub = start_hub()
    with Relay(hub.port) as relay:
        edge = start_edge(counting({"url": f"ws://127.0.0.1:{relay.port}"}))
        more(hub)
        relay.hold()
        wait_until(lambda: "no connection" in edge.output(), "the silence is noticed")
        relay.heal()
        more(hub)
        assert edge.stop() == 0, edge.output()
    assert told(edge) == ["connected to ws", "no connection to ws", "connected to ws"]
    check_numbers(hub)


def test_hub_that_is_killed_and_restarted_gets_everything_over_the_socket(
    start_hub: Callable[..., HubProcess], start_edge: Callable[..., Running]
) -> None:
    hub = start_hub()
    edge = start_edge(counting({"url": f"ws://127.0.0.1:{hub.port}"}))
    more(hub)
    hub.kill()
    hub.start()
    more(hub)
    assert edge.stop() == 0, edge.output()
    check_numbers(hub)


@pytest.mark.mosquitto
def test_hub_and_robot_meet_over_tls(
    start_hub: Callable[..., HubProcess], start_edge: Callable[..., Running], tls_broker: tuple[str, Path]
) -> None:
    url, ca = tls_broker
    hub = start_hub({"broker": {"url": url, "ca": str(ca)}})
    edge = start_edge(counting({"url": url, "tls": {"ca": str(ca)}}))
    more(hub)
    assert edge.stop() == 0, edge.output()
    check_numbers(hub)


@pytest.fixture
def tls_broker(tmp_path: Path, mosquitto: Mosquitto) -> tuple[str, Path]:
    """A Mosquitto that speaks TLS alone, and the authority of its certificate."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    mosquitto.configure(f"certfile {tmp_path / 'server.pem'}", f"keyfile {tmp_path / 'server.pem'}")
    mosquitto.start()
    return f"mqtts://localhost:{mosquitto.port}", tmp_path / "ca.pem"
