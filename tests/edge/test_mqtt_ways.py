"""All ways of MQTT to a real Mosquitto: versions 5 and 3.1.1, TLS, certificates of robots, and WebSocket."""

import asyncio
import getpass
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from botyard.transport.embedded import BrokerSettings, EmbeddedBroker
from botyard_edge.mqtt import MqttTransport
from botyard_edge.tls import SYSTEM, Tls
from botyard_edge.transport import TransportError, Will
from botyard_schemas import topics
from tests.processes import Running, free_port, wait_until

# paho leaves a socket to the garbage collector when a handshake fails.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")

WILL = Will(topics.presence("r1"), b"gone")


@dataclass(frozen=True)
class Listeners:
    """A Mosquitto that listens in every way, and the certificates for it."""

    ports: dict[str, int]
    ca: Path
    robot: Path
    log: Any

    def transport(self, scheme: str, *, tls: Tls | None = None, port: str | None = None, **rest: Any) -> MqttTransport:
        url = f"{scheme}://localhost:{self.ports[port or scheme]}"
        return MqttTransport("r1", url, timeout=5.0, tls=tls or Tls(ca=self.ca), **rest)


@pytest.fixture(scope="module")
def listeners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listeners]:
    folder = tmp_path_factory.mktemp("mosquitto")
    authority = trustme.CA()
    server, robot = authority.issue_cert("localhost"), authority.issue_cert("r1")
    ca, key, chain, own = (folder / name for name in ("ca.pem", "server.key", "server.pem", "robot.pem"))
    authority.cert_pem.write_to_path(ca)
    server.private_key_pem.write_to_path(key)
    server.cert_chain_pems[0].write_to_path(chain)
    robot.private_key_and_cert_chain_pem.write_to_path(own)
    ports = {name: free_port() for name in ("mqtt", "mqtts", "mqtt+ws", "mqtt+wss", "certificate")}
    # As root it would become another user, who cannot read the folder.
    lines = ["per_listener_settings true", f"user {getpass.getuser()}"]
    for name, port in ports.items():
        lines += [f"listener {port} 127.0.0.1", "allow_anonymous true"]
        if "ws" in name:
            lines.append("protocol websockets")
        if name in ("mqtts", "mqtt+wss", "certificate"):
            lines += [f"cafile {ca}", f"certfile {chain}", f"keyfile {key}"]
        if name == "certificate":
            lines.append("require_certificate true")
    config = folder / "mosquitto.conf"
    config.write_text("\n".join(lines) + "\n")
    binary = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    broker = Running([binary, "-v", "-c", str(config)], folder, "mosquitto")
    wait_until(lambda: "running" in broker.output(), "Mosquitto runs", 10)
    yield Listeners(ports, ca, own, broker.output)
    broker.stop()


async def passes(transport: MqttTransport) -> None:
    """A message goes to the broker and back."""
    async with asyncio.timeout(20), transport.session(WILL) as session:
        await session.subscribe(topics.all_down("r1"))
        await session.publish(topics.down("r1", "ack"), b"hello", qos=1, wait=True)
        async for received in session.messages():
            assert received == (topics.down("r1", "ack"), b"hello")
            return


@pytest.mark.mosquitto
@pytest.mark.parametrize("version", ["auto", "5", "3.1.1"])
@pytest.mark.parametrize("scheme", ["mqtt", "mqtts", "mqtt+ws", "mqtt+wss"])
async def test_message_passes_a_real_broker(listeners: Listeners, scheme: str, version: str) -> None:
    before = len(listeners.log())
    await passes(listeners.transport(scheme, version=version))
    spoken = {"auto": "p5", "5": "p5", "3.1.1": "p2"}[version]
    assert f"as botyard-r1 ({spoken}," in listeners.log()[before:]


@pytest.mark.mosquitto
async def test_robot_shows_its_certificate_to_a_broker_that_asks_for_one(listeners: Listeners) -> None:
    await passes(listeners.transport("mqtts", port="certificate", tls=Tls(listeners.ca, listeners.robot)))
    with pytest.raises(TransportError):
        await passes(listeners.transport("mqtts", port="certificate"))


@pytest.mark.mosquitto
async def test_broker_whose_certificate_is_not_trusted_is_refused_with_the_reason(listeners: Listeners) -> None:
    with pytest.raises(TransportError, match="certificate verify failed"):
        await passes(listeners.transport("mqtts", tls=SYSTEM))


@pytest.mark.mosquitto
async def test_broker_under_another_name_than_its_certificate_says_is_refused(listeners: Listeners) -> None:
    transport = listeners.transport("mqtts")
    transport.url = transport.url.replace("localhost", "127.0.0.1")
    with pytest.raises(TransportError, match="IP address mismatch"):
        await passes(transport)


async def test_certificates_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    for tls, said in ((Tls(broken), "the authorities in"), (Tls(None, broken), "the certificate")):
        with pytest.raises(TransportError, match=said):
            tls.context()


async def test_embedded_broker_takes_version_3_over_tcp_and_websocket_after_one_refused_attempt(tmp_path: Path) -> None:
    port = free_port()
    settings = BrokerSettings(
        host="127.0.0.1", port=0, folder=tmp_path, max_payload=1 << 20, websocket_port=port, token="secret"
    )
    async with EmbeddedBroker(settings) as broker:
        for url in (f"mqtt://127.0.0.1:{broker.port}", f"mqtt+ws://127.0.0.1:{port}"):
            transport = MqttTransport("r1", url, "r1", "secret", timeout=4.0)
            await passes(transport)
            assert transport._old
            await passes(transport)
            with pytest.raises(TransportError):
                await passes(MqttTransport("r1", url, "r1", "secret", timeout=1.0, version="5"))
            with pytest.raises(TransportError):
                await passes(MqttTransport("r1", url, "r1", "wrong", timeout=1.0))


async def test_connection_that_is_closed_before_the_broker_answers_fails_at_once() -> None:
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        attempts.append(await reader.read(100))
        writer.close()

    attempts: list[bytes] = []
    async with await asyncio.start_server(close, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(20.0):  # far less than what it may wait for an answer
            with pytest.raises(TransportError, match="the connection was closed before the broker answered"):
                await passes(MqttTransport("r1", f"mqtt://127.0.0.1:{port}", timeout=1000.0))
    assert len(attempts) == 2, "a broker that knows only the older version may answer so"


@pytest.mark.parametrize("turns", range(3))
async def test_cancellation_in_the_moment_of_the_broker_s_answer_is_not_forgotten(tmp_path: Path, turns: int) -> None:
    """What is cancelled must end, else a link that changes its transport waits for ever for the old connection."""
    settings = BrokerSettings(host="127.0.0.1", port=0, folder=tmp_path, max_payload=1 << 20)
    async with EmbeddedBroker(settings) as broker:
        transport = MqttTransport("r1", f"mqtt://127.0.0.1:{broker.port}", version="3.1.1")
        async with transport.session(WILL) as session:
            inner: Any = session
            confirm = inner._client._client.on_publish

            def confirmed(*told: Any) -> None:
                confirm(*told)
                cancel_after(turns)

            def cancel_after(turns: int) -> None:
                if turns:
                    asyncio.get_running_loop().call_soon(cancel_after, turns - 1)
                else:
                    cancelled.append(publishing.cancel())

            inner._client._client.on_publish = confirmed
            cancelled: list[bool] = []
            publishing = asyncio.create_task(
                session.publish(topics.up("r1", "event"), b"something", qos=1, wait=True), name="publishing"
            )
            await asyncio.wait({publishing}, timeout=20.0)
            assert cancelled == [True], "it was cancelled before it had ended"
            assert publishing.cancelled()
