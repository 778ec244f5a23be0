"""From publish to a WebSocket client and to the store: `python -m benchmarks.latency`.

Robots publish at a fixed rate, far below the maximum; one client watches one of them. Beside it stands the way through
the broker alone, to a bare subscriber in this process, in the same run.
"""

import argparse
import asyncio
import json
import statistics
import time

import aiomqtt
from websockets.asyncio.client import connect

from benchmarks.machine import broker, hub, save
from benchmarks.publisher import message
from botyard_schemas import topics

ROBOT = "bench-0"


async def _publish(port: int, count: int, rate: float, sent: dict[int, float]) -> None:
    loop = asyncio.get_running_loop()
    async with aiomqtt.Client("127.0.0.1", port, identifier=ROBOT, protocol=aiomqtt.ProtocolVersion.V311) as client:
        begin = loop.time()
        for number in range(1, count + 1):
            await asyncio.sleep(max(0.0, begin + number / rate - loop.time()))
            payload = message(ROBOT, number, 1)
            sent[json.loads(payload)["ts"]] = time.perf_counter()
            await client.publish(topics.up(ROBOT, "telemetry"), payload, qos=0)


async def _watch(url: str, sent: dict[int, float], took: list[float], ready: asyncio.Event, count: int) -> None:
    async with connect(url.replace("http", "ws") + "/api/v1/ws", max_size=None) as socket:
        await socket.send(json.dumps({"type": "watch", "robots": [ROBOT]}))
        ready.set()
        while len(took) < count:
            frame = json.loads(await socket.recv())
            now = time.perf_counter()
            if frame["type"] == "readings":
                took += [now - sent[ts] for ts in frame["channels"][0]["ts"]]


async def _count(port: int, sent: dict[int, float], took: list[float], ready: asyncio.Event, count: int) -> None:
    async with aiomqtt.Client("127.0.0.1", port, identifier="bare", protocol=aiomqtt.ProtocolVersion.V311) as client:
        await client.subscribe(topics.up(ROBOT, "telemetry"))
        ready.set()
        async for received in client.messages:
            assert isinstance(received.payload, bytes)
            took.append(time.perf_counter() - sent[json.loads(received.payload)["ts"]])
            if len(took) >= count:
                return


async def measure(count: int, rate: float) -> dict[str, dict[str, float]]:
    """Percentiles in milliseconds, of the way to the browser and of the way through the broker alone."""
    to_client: list[float] = []
    to_subscriber: list[float] = []
    sent: dict[int, float] = {}
    ready = asyncio.Event(), asyncio.Event()
    async with (
        broker() as running,
        hub(running.port) as (url, _),
        asyncio.timeout(30 + count / rate),
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(_watch(url, sent, to_client, ready[0], count))
        tasks.create_task(_count(running.port, sent, to_subscriber, ready[1], count))
        await asyncio.gather(*(event.wait() for event in ready))
        tasks.create_task(_publish(running.port, count, rate, sent))
    return {"publish_to_websocket_ms": percentiles(to_client), "publish_to_bare_ms": percentiles(to_subscriber)}


def percentiles(seconds: list[float]) -> dict[str, float]:
    """p50, p95 and p99 in milliseconds."""
    cuts = statistics.quantiles(seconds, n=100)
    return {"p50": round(cuts[49] * 1e3, 1), "p95": round(cuts[94] * 1e3, 1), "p99": round(cuts[98] * 1e3, 1)}


async def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=200.0, help="messages per second")
    options = parser.parse_args()
    result = await measure(options.messages, options.rate)
    for name, row in result.items():
        print(name, "  ".join(f"{percentile} {value}" for percentile, value in row.items()))
    save("latency", result)


if __name__ == "__main__":
    asyncio.run(main())
