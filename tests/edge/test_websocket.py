"""The robot's end of the hub's WebSocket, with a real hub at the other end."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from botyard.core.hub import Hub
from botyard.plugin.manager import build_plugin_manager
from botyard.testing import PLUGINS, hub_config
from botyard_edge.tls import Tls
from botyard_edge.transport import Session, TransportError, Will
from botyard_edge.websocket import WebSocketTransport
from botyard_schemas import topics
from tests.relay import Relay

WILL = Will(topics.presence("r1"), b"")


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    manager = build_plugin_manager(defaults=(*PLUGINS, "botyard.transport.websocket"))
    async with Hub(hub_config(tmp_path), plugins=manager) as running:
        yield running


def transport_to(hub: Hub, **options: object) -> WebSocketTransport:
    return WebSocketTransport("r1", (hub.web_url or "").replace("http", "ws"), timeout=5.0, **options)  # type: ignore[arg-type]


def event(seq: int) -> bytes:
    raw = {"v": 1, "robot": "r1", "epoch": "e1", "seq": seq, "ts": time.time_ns() // 1000, "type": "event"}
    return json.dumps({**raw, "body": {"name": "hi", "severity": "info"}}).encode()


async def listen(session: Session) -> None:
    async for _ in session.messages():
        pass


async def flood(session: Session) -> None:
    while True:
        await session.publish(topics.up("r1", "event"), b" " * 200_000, qos=1)


async def test_session_brings_messages_up_and_acknowledgements_down(hub: Hub) -> None:
    async with asyncio.timeout(10), transport_to(hub).session(WILL) as session:
        await session.subscribe(topics.all_down("r1"))
        await session.publish(topics.up("r1", "event"), event(1), qos=1)
        async for topic, payload in session.messages():
            assert topic == topics.down("r1", "ack")
            assert json.loads(payload)["body"] == {"epoch": "e1", "seq": 1}
            return


async def test_session_that_is_refused_tells_the_hubs_sentence(hub: Hub) -> None:
    with pytest.raises(TransportError, match=r"refused \(HTTP 401\): the access token is wrong"):
        async with transport_to(hub, token="wrong").session(WILL):
            pass


async def test_session_to_nobody_and_to_something_else_says_what_happened(hub: Hub) -> None:
    with pytest.raises(TransportError, match=r"[Cc]onnect"):
        async with WebSocketTransport("r1", "ws://127.0.0.1:1").session(WILL):
            pass
    other = WebSocketTransport("r1", f"{transport_to(hub).url}/api/v1/hub")
    with pytest.raises(TransportError, match="HTTP"):
        async with other.session(WILL):
            pass


async def test_session_that_another_one_of_the_same_robot_replaces_hears_why(hub: Hub) -> None:
    async with transport_to(hub).session(WILL) as old, transport_to(hub).session(WILL):
        with pytest.raises(TransportError, match="a newer connection of this robot has taken over"):
            await asyncio.wait_for(listen(old), 10)


async def test_session_on_which_nothing_is_said_survives_a_proxy_that_cuts_what_is_idle(hub: Hub) -> None:
    port = int((hub.web_url or "").rpartition(":")[2])
    with Relay(port, idle=1.5) as relay:
        transport = WebSocketTransport("r1", f"ws://127.0.0.1:{relay.port}", keepalive=0.3)  # type: ignore[arg-type]
        async with transport.session(WILL) as session:
            await asyncio.sleep(4)
            await session.publish(topics.up("r1", "event"), event(1), qos=1)
            async for _ in session.messages():
                break
        assert relay.cuts == 0


async def test_session_over_a_network_that_falls_silent_ends_in_bounded_time(hub: Hub) -> None:
    port = int((hub.web_url or "").rpartition(":")[2])
    with Relay(port) as relay:
        transport = WebSocketTransport("r1", f"ws://127.0.0.1:{relay.port}", keepalive=0.3)  # type: ignore[arg-type]
        async with transport.session(WILL) as session:
            relay.hold()
            with pytest.raises(TransportError, match="keepalive ping timeout"):
                await asyncio.wait_for(listen(session), 10)
        relay.heal()


async def test_session_whose_network_takes_nothing_ends_in_bounded_time(hub: Hub) -> None:
    port = int((hub.web_url or "").rpartition(":")[2])
    with Relay(port) as relay:
        transport = WebSocketTransport("r1", f"ws://127.0.0.1:{relay.port}", keepalive=0.5)  # type: ignore[arg-type]
        async with transport.session(WILL) as session:
            relay.hold()
            with pytest.raises(TransportError):
                await asyncio.wait_for(flood(session), 10)
        relay.heal()


async def test_session_through_a_proxy_with_tls_checks_its_certificate(hub: Hub, tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with Relay(int((hub.web_url or "").rpartition(":")[2]), tls=context) as relay:
        url = f"wss://localhost:{relay.port}"
        async with WebSocketTransport("r1", url, tls=Tls(tmp_path / "ca.pem")).session(WILL) as session:
            await session.publish(topics.up("r1", "event"), event(1), qos=1)
            async for topic, _ in session.messages():
                assert topic == topics.down("r1", "ack")
                break
        with pytest.raises(TransportError, match="certificate verify failed"):
            async with WebSocketTransport("r1", url).session(WILL):
                pass


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("ws://hub.local:8080", "ws://hub.local:8080/edge/v1"),
        ("wss://fleet.example.org/", "wss://fleet.example.org/edge/v1"),
        ("wss://fleet.example.org/botyard/edge/v1", "wss://fleet.example.org/botyard/edge/v1"),
        ("ws://[::1]:8080", "ws://[::1]:8080/edge/v1"),
    ],
)
def test_address_is_the_url_with_the_path_where_none_was_given(url: str, shown: str) -> None:
    assert WebSocketTransport("r1", url).address == shown
