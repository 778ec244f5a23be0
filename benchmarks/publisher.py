"""A publisher that costs as little as it can: it speaks just enough MQTT 3.1.1 to send prepared packets.

`python -m benchmarks.publisher HOST PORT ROBOTS MESSAGES SETS QOS` publishes telemetry of `ROBOTS` robots, `MESSAGES`
in all, with `SETS` sample sets of four channels each, as fast as the broker takes it.
"""

import asyncio
import itertools
import sys
import time

from botyard_schemas import Channel, Envelope, Group, Telemetry, encode, topics

# Publishes that wait for the broker's PUBACK at most (QoS 1), and bytes that wait in the socket.
WINDOW = 500
CHUNK = 64 * 1024


def message(robot: str, seq: int, sets: int, epoch: str = "bench") -> bytes:
    """About 320 bytes of telemetry with one sample set; `sets` of them make it longer."""
    dt = [-100_000 * (sets - 1 - i) for i in range(sets)]
    group = Group(
        dt,
        [
            Channel("drive.speed", [round(0.5 + 0.001 * (i % 7), 4) for i in range(sets)], unit="m/s"),
            Channel("battery.voltage", [round(25.1 - 0.01 * (i % 5), 3) for i in range(sets)], unit="V"),
            Channel("motor.temperature", [round(41.5 + 0.1 * (i % 3), 2) for i in range(sets)], unit="Cel"),
            Channel("gripper.force", [round(4.1 + 0.05 * (i % 11), 3) for i in range(sets)], unit="N"),
        ],
    )
    return encode(Envelope(robot, time.time_ns() // 1000, Telemetry([group]), epoch, seq))


def _packet(first: int, body: bytes) -> bytes:
    length, header = len(body), bytearray([first])
    while True:
        header.append(length % 128 | (128 if length > 127 else 0))
        length //= 128
        if not length:
            return bytes(header) + body


def _text(value: str) -> bytes:
    raw = value.encode()
    return len(raw).to_bytes(2, "big") + raw


class _Publisher(asyncio.Protocol):
    def __init__(self) -> None:
        self.connected = asyncio.Event()
        self.room = asyncio.Event()
        self.outstanding = 0
        self._empty = asyncio.Event()
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(4 * CHUNK)
        body = _text("MQTT") + b"\x04\x02" + (60).to_bytes(2, "big") + _text("bench-publisher")
        transport.write(_packet(0x10, body))
        self.room.set()

    def pause_writing(self) -> None:
        self.room.clear()

    def resume_writing(self) -> None:
        self.room.set()

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        at = 0
        while len(data) - at >= 4:  # CONNACK and PUBACK both have four bytes
            if data[at] == 0x20:
                self.connected.set()
            else:
                self.outstanding -= 1
            at += 4
        self._rest = data[at:]
        if not self.outstanding:
            self._empty.set()
        if self.outstanding < WINDOW:
            self.room.set()

    async def drained(self) -> None:
        """Wait until the broker has acknowledged everything."""
        while self.outstanding:
            self._empty.clear()
            await self._empty.wait()


async def publish(host: str, port: int, robots: int, messages: int, sets: int, qos: int) -> None:
    """Send everything and wait until the broker has taken it."""
    packets = []
    ids = itertools.cycle(range(1, 65535))
    for number in range(messages):
        robot = f"bench-{number % robots}"
        payload = message(robot, number // robots + 1, sets)
        identifier = next(ids).to_bytes(2, "big") if qos else b""
        packets.append(_packet(0x30 | qos << 1, _text(topics.up(robot, "telemetry")) + identifier + payload))
    transport, protocol = await asyncio.get_running_loop().create_connection(_Publisher, host, port)
    await protocol.connected.wait()
    step = max(1, min(50, CHUNK // len(packets[0])))
    print("start", flush=True)
    for at in range(0, len(packets), step):
        part = packets[at : at + step]
        if qos:
            while protocol.outstanding + len(part) > WINDOW:
                protocol.room.clear()
                await protocol.room.wait()
            protocol.outstanding += len(part)
        transport.write(b"".join(part))
        await protocol.room.wait()
        await asyncio.sleep(0)
    await protocol.drained()
    transport.write(_packet(0xE0, b""))
    transport.close()


if __name__ == "__main__":
    arguments = sys.argv[1:]
    asyncio.run(publish(arguments[0], *(int(text) for text in arguments[1:6])))
