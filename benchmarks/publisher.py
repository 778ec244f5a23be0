"""The virtual robots of `botyard bench` without a hub: prepared messages, as fast as the broker takes them.

`python -m benchmarks.publisher HOST PORT ROBOTS MESSAGES SETS QOS` publishes telemetry of `ROBOTS` robots, `MESSAGES`
in all, with `SETS` sample sets of four channels each. Nobody waits for the hub, so that the bare subscriber and the hub
get the same messages at the same speed.
"""

import asyncio
import itertools
import random
import sys
import time

from botyard_plugins.bench import mqtt
from botyard_plugins.bench.messages import Bodies, Template
from botyard_plugins.bench.plan import Plan

CHANNELS = 4
# Publishes that wait for the broker's PUBACK at most (QoS 1), and bytes that wait in the socket.
WINDOW = 500
CHUNK = 64 * 1024
# A PUBACK's fixed header; two bytes of identifier follow (MQTT 3.1.1, section 3.4).
_PUBACK = bytes((mqtt.PUBACK, 2))


class _Publisher(asyncio.Protocol):
    def __init__(self) -> None:
        self.connected = asyncio.Event()
        self.room = asyncio.Event()
        self.closed = asyncio.Event()
        self.outstanding = 0
        self._empty = asyncio.Event()
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(4 * CHUNK)
        transport.write(mqtt.connect("bench-publisher", 60))
        self.room.set()

    def connection_lost(self, _exc: Exception | None) -> None:
        self.closed.set()

    def pause_writing(self) -> None:
        self.room.clear()

    def resume_writing(self) -> None:
        self.room.set()

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        count = len(data) // 4
        if data[0 : 4 * count : 4] == _PUBACK[:1] * count and data[1 : 4 * count : 4] == _PUBACK[1:] * count:
            self.outstanding -= count  # nothing else comes when it is busy, and the machine has better things to do
            self._rest = data[4 * count :]
        else:
            packets, used = mqtt.split(data)
            self._rest = data[used:]
            self.outstanding -= sum(first == mqtt.PUBACK for first, _ in packets)
            if any(first == mqtt.CONNACK for first, _ in packets):
                self.connected.set()
        if not self.outstanding:
            self._empty.set()
        if self.outstanding < WINDOW:
            self.room.set()

    async def drained(self) -> None:
        """Wait until the broker has acknowledged everything."""
        while self.outstanding:
            self._empty.clear()
            await self._empty.wait()


def packets(robots: int, messages: int, sets: int, qos: int) -> list[bytes]:
    """Robot after robot, each with its numbers from 1."""
    plan = Plan(robots=robots, channels=CHANNELS, sets=sets, qos=qos, state_every=0.0)
    rng = random.Random(1)
    bodies = Bodies(plan, rng)
    made = [Template(plan.robot(number), "bench", bodies, qos, rng.randrange(10_000)) for number in range(robots)]
    identifiers = mqtt.identifiers()
    period = bodies.step * sets
    first = time.time_ns() // 1000 - messages // robots * period
    return [
        made[number % robots].packet(number // robots + 1, first + number // robots * period, identifiers)
        for number in range(messages)
    ]


async def publish(host: str, port: int, robots: int, messages: int, sets: int, qos: int) -> None:
    """Send everything and wait until the broker has taken it."""
    prepared = packets(robots, messages, sets, qos)
    transport, protocol = await asyncio.get_running_loop().create_connection(_Publisher, host, port)
    await protocol.connected.wait()
    step = max(1, min(100, CHUNK // len(prepared[0])))
    print("start", flush=True)
    for at in itertools.count(0, step):
        if not (part := prepared[at : at + step]):
            break
        if qos:
            while protocol.outstanding + len(part) > WINDOW:
                protocol.room.clear()
                await protocol.room.wait()
            protocol.outstanding += len(part)
        transport.write(b"".join(part))
        await protocol.room.wait()
        await asyncio.sleep(0)
    await protocol.drained()
    transport.write(mqtt.DISCONNECT)
    transport.close()
    await protocol.closed.wait()  # what is still in the buffer is lost with the loop


if __name__ == "__main__":
    arguments = sys.argv[1:]
    asyncio.run(publish(arguments[0], *(int(text) for text in arguments[1:6])))
