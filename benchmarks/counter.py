"""The bare baseline: an aiomqtt subscriber that only counts.

`python -m benchmarks.counter HOST PORT MESSAGES QOS` prints `ready`, and then the seconds between the first and the
last message.
"""

import asyncio
import sys
import time

import aiomqtt

from botyard_schemas import topics


async def count(host: str, port: int, messages: int, qos: int) -> None:
    """Count until all have come."""
    async with aiomqtt.Client(host, port, identifier="bench-counter", protocol=aiomqtt.ProtocolVersion.V311) as client:
        await client.subscribe(topics.ALL_UP, qos=qos)
        print("ready", flush=True)
        counted, first = 0, 0.0
        async for _ in client.messages:
            counted += 1
            if counted == 1:
                first = time.perf_counter()
            if counted == messages:
                print(time.perf_counter() - first, flush=True)
                return


if __name__ == "__main__":
    arguments = sys.argv[1:]
    asyncio.run(count(arguments[0], *(int(text) for text in arguments[1:4])))
