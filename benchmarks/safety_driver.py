"""The driver of `benchmarks.safety`: fills the outbox, presses an emergency stop from another thread, blocks the loop.

What happens is written to the file `notes`, a line of JSON each, with the steady clock and the CPU time of the loop's
thread, in seconds.
"""

import asyncio
import json
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from botyard_edge.driver import Capabilities, Channel, Driver, DriverContext, DriverSpec, Port
from botyard_edge.hookspecs import hookimpl

PRESSES, PRESS_EVERY = 80, 0.5  # s; as long pressed as released, so that what the latch writes to the disk is over
BLOCKS, BLOCKED, BLOCK_EVERY = 10, 0.6, 1.5  # s


class Bench(Driver):
    """Waits for the file `go` between its two parts, so that the hub can be started meanwhile."""

    capabilities = Capabilities((Channel("filler", "text"), Channel("live")))

    def __init__(self, context: DriverContext) -> None:
        super().__init__(context)
        self._folder = Path(context.folder)
        self._notes = (self._folder / "notes").open("a", encoding="utf-8")
        self._what = "nothing"
        self._loop_cpu = time.pthread_getcpuclockid(threading.get_ident())

    def halt(self) -> None:
        self._note("halt", thread=threading.current_thread().name, because=self._what)

    async def stop(self) -> None:
        self._note("stop", because=self._what)

    async def run(self, port: Port) -> None:
        for _ in range(self.context.options["backlog"]):
            await port.publish({"filler": "x" * 200})
            await asyncio.sleep(0)  # or many would become one message
        await port.flush()
        self._note("filled")
        while not (self._folder / "go").exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.1)
        async with asyncio.TaskGroup() as tasks:
            live = tasks.create_task(self._live(port), name="bench.live")
            await self._press(port)
            self._note("pressed")
            await self._block()
            self._note("blocked")
            live.cancel()
        await asyncio.sleep(1e9)

    async def _live(self, port: Port) -> None:
        while True:
            await port.publish({"live": time.monotonic()})
            await asyncio.sleep(0.01)

    async def _press(self, port: Port) -> None:
        """As a driver whose device calls back in a thread of its own, as those of gpiozero do."""
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def device() -> None:
            for _ in range(PRESSES):
                for pressed in (True, False):
                    time.sleep(PRESS_EVERY / 2)
                    if pressed:
                        self._what = "press"
                        self._note("press")
                    loop.call_soon_threadsafe(self._tell, port, pressed)
            loop.call_soon_threadsafe(done.set)

        thread = threading.Thread(target=device, name="bench.device")
        thread.start()
        await done.wait()
        thread.join()

    def _tell(self, port: Port, pressed: bool) -> None:
        port.update_state(estop_inputs={"red": pressed})

    async def _block(self) -> None:
        for _ in range(BLOCKS):
            await asyncio.sleep(BLOCK_EVERY - BLOCKED)
            self._what = "block"
            self._note("block")
            time.sleep(BLOCKED)  # noqa: ASYNC251 - this is what is measured
            self._what = "nothing"

    def _note(self, what: str, **more: Any) -> None:
        self._notes.write(
            json.dumps({"what": what, "at": time.monotonic(), "cpu": time.clock_gettime(self._loop_cpu), **more}) + "\n"
        )
        self._notes.flush()


@hookimpl
def botyard_edge_drivers() -> Iterable[DriverSpec]:
    """The benchmark's driver."""
    options = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"backlog": {"type": "integer", "default": 60_000}},
    }
    return [DriverSpec("bench", "For benchmarks.safety.", Bench, options)]
