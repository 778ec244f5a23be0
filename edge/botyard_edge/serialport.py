"""What drivers with a serial port of pyserial share: reading without a thread, and closing when the device has gone."""

import asyncio
import os
import termios
from typing import Any


async def read(fd: int, most: int) -> bytes:
    """Wait for what comes next, and take up to so many bytes of it; nothing: the device has gone. Raises OSError."""
    while True:
        await _readable(fd)
        try:
            return os.read(fd, most)
        except BlockingIOError:
            continue


def close(port: Any) -> None:
    """Close a `serial.Serial`, whether it is open or not. Blocks, but for no device that has gone."""
    try:
        if port.is_open:
            port.reset_output_buffer()  # else closing waits for a device that may be gone
    except (OSError, termios.error):
        pass  # it is gone
    finally:
        port.close()


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, _tell, ready)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


def _tell(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
