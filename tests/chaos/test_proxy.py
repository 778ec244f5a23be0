"""The proxy with real sockets, and a broker's place taken by a server that confirms or echoes."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.chaos.mangler import Mangling
from tests.chaos.packets import PUBACK, Publish, Splitter, acknowledged_by, read_publish
from tests.chaos.proxy import Proxy
from tests.processes import wait_until

TOPIC = "botyard/v1/alpha/up/telemetry"


class Server:
    """Keeps what it gets, and confirms messages at QoS 1."""

    def __init__(self) -> None:
        self.got: list[Publish] = []
        self.ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self._serve(connection)
            self.ended.set()

    def _serve(self, connection: socket.socket) -> None:
        splitter = Splitter()
        try:
            while data := connection.recv(65536):
                for packet in splitter.feed(data):
                    message = read_publish(packet)
                    self.got.append(message)
                    if message.qos:
                        connection.sendall(bytes([PUBACK << 4, 2]) + message.identifier.to_bytes(2, "big"))
        except OSError:
            pass

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), 10)


def message(number: int, qos: int = 0) -> bytes:
    return Publish(TOPIC, str(number).encode(), qos, number if qos else 0).encode()


def numbers(server: Server) -> list[int]:
    return [int(one.payload) for one in server.got]


def test_proxy_good_network_passes_everything_on_in_order_and_hears_it(server: Server) -> None:
    heard: list[Publish] = []
    with Proxy(server.port, mqtt=True, on_publish=heard.append) as proxy, connect(proxy) as client:
        for number in range(1, 101):
            client.sendall(message(number))
        wait_until(lambda: len(server.got) == 100, "all are there")
    assert numbers(server) == list(range(1, 101))
    assert [int(one.payload) for one in heard] == numbers(server)


def test_proxy_client_says_its_last_word_and_goes_it_arrives(server: Server) -> None:
    with Proxy(server.port, mqtt=True) as proxy:
        with connect(proxy) as client:
            client.sendall(message(1))
        assert server.ended.wait(10)
    assert numbers(server) == [1]


def test_proxy_cut_ends_connections_and_refuses_new_ones_until_it_is_healed(server: Server) -> None:
    with Proxy(server.port) as proxy:
        with connect(proxy) as client:
            proxy.cut()
            assert client.recv(1) == b""
        with connect(proxy) as client:
            assert _refused(client)
        proxy.heal()
        with connect(proxy) as client:
            client.sendall(message(1))
            wait_until(lambda: server.got, "it passes")


def _refused(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_proxy_holds_nothing_passes_and_nothing_is_lost(server: Server) -> None:
    with Proxy(server.port, mqtt=True) as proxy, connect(proxy) as client:
        client.sendall(message(1))
        wait_until(lambda: server.got, "it passes")
        proxy.hold()
        client.sendall(message(2))
        time.sleep(0.2)
        assert numbers(server) == [1]
        proxy.hold(hold=False)
        wait_until(lambda: numbers(server) == [1, 2], "it passes again")


def test_proxy_delays_messages_are_late_but_do_not_queue_up(server: Server) -> None:
    with Proxy(server.port, mqtt=True) as proxy, connect(proxy) as client:
        proxy.delay(0.3)
        began = time.monotonic()
        for number in range(1, 21):
            client.sendall(message(number))
        wait_until(lambda: len(server.got) == 20, "all are there", 5.0)
        took = time.monotonic() - began
    assert 0.3 <= took < 20 * 0.3
    assert numbers(server) == list(range(1, 21))


def test_proxy_doubles_and_reorders_the_sender_hears_one_confirmation_each(server: Server) -> None:
    confirmed: list[int] = []
    with Proxy(server.port, mqtt=True) as proxy, connect(proxy) as client:
        proxy.mangle(Mangling(0.7, 0.5))
        for number in range(1, 201):
            client.sendall(message(number, qos=number % 2))
        splitter = Splitter()
        client.settimeout(10)
        while len(confirmed) < 100:
            confirmed += [acknowledged_by(packet) for packet in splitter.feed(client.recv(4096))]
        wait_until(lambda: set(numbers(server)) == set(range(1, 201)), "all are there")
        client.settimeout(1.0)
        with pytest.raises(TimeoutError):
            client.recv(1)
    assert sorted(confirmed) == list(range(1, 201, 2))
    assert len(server.got) > 250
    assert numbers(server) != sorted(numbers(server))
    assert proxy.counts["doubled"] > 50
    assert proxy.counts["held back"] > 50


def test_proxy_echo_brings_old_messages_again_on_the_connection_of_today(server: Server) -> None:
    with Proxy(server.port, mqtt=True) as proxy:
        with connect(proxy) as client:
            for number in range(1, 11):
                client.sendall(message(number, qos=1))
            wait_until(lambda: len(server.got) == 10, "all are there")
        assert server.ended.wait(10)
        with connect(proxy) as client:
            client.sendall(message(11))
            wait_until(lambda: len(server.got) == 11, "it is there")
            proxy.echo(5)
            wait_until(lambda: len(server.got) == 16, "five came again")
    again = server.got[11:]
    assert {int(one.payload) for one in again} <= set(range(1, 12))
    assert all(one.qos == 0 for one in again)
