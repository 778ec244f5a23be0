"""A helper process as the hub sees it: started, asked, watched, started again, ended."""

import asyncio
import contextlib
import logging
import sys
from typing import Protocol, Self

import msgspec

from botyard.store import frames
from botyard.store.base import StoreError
from botyard.store.frames import Answer, Mark, Request
from botyard_schemas.clock import Clock

log = logging.getLogger(__name__)

START_PATIENCE = 30.0  # seconds until a process that does not greet is given up
END_PATIENCE = 30.0  # seconds that a process gets to finish what it was given, before it is killed
ENDING = 1.0  # seconds that one gets which said that it cannot start, or says nothing any more
STABLE = 10.0  # a process that lived so many seconds is started again at once
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0  # seconds between attempts otherwise
FIRST_STARTS = (0.1, 0.5, 1.0)  # seconds after which the first start is tried again when something ended the process

_answer = msgspec.msgpack.Decoder(Answer)
_mark = msgspec.msgpack.Decoder(Mark | None)


class Servant(Protocol):
    """Whoever does the store's work: a `Helper`, or something like it (see `inline`)."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...

    async def ask(self, op: str, body: bytes = b"") -> bytes:
        """Ask something that changes nothing. Raises StoreError."""

    async def change(self, op: str, body: bytes) -> bytes:
        """Have something changed. Raises StoreError when it was not, and KeyError when what is meant is not there."""


class _EndedError(StoreError):
    """The process ended without a word while it started; somebody or something killed it."""


class Helper:
    """Runs `python -m <module> <arguments>` while its `async with` lasts.

    When the process dies, it is started again, with growing pauses if it keeps dying. What it was asked then fails at
    once; what it was to change waits for the new process's word, so that a change that raised StoreError was not done.
    """

    def __init__(self, name: str, module: str, arguments: list[str], clock: Clock, *, in_flight: int = 16) -> None:
        self._name = name
        self._command = [sys.executable, "-P", "-m", module, *arguments]
        self._clock = clock
        self._slots = asyncio.Semaphore(in_flight)
        self._tasks = asyncio.TaskGroup()
        self._supervisor: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._decided = asyncio.Event()  # cleared only while an attempt to start is under way
        self._outage = ""
        self._closing = False
        self._pending: dict[int, tuple[asyncio.Future[bytes], bool]] = {}
        self._n = 0

    @property
    def pid(self) -> int | None:
        """Process id, None while it is down."""
        return None if self._process is None else self._process.pid

    async def __aenter__(self) -> Self:
        self._process = await self._first_start()
        self._decided.set()
        await self._tasks.__aenter__()
        self._supervisor = self._tasks.create_task(self._supervise(self._process), name=f"hub.store.{self._name}")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        self._outage = f"the {self._name} is closed"
        self._decided.set()
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        elif self._supervisor is not None:
            self._supervisor.cancel()
        killer = asyncio.get_running_loop().call_later(END_PATIENCE, self._kill)
        try:
            # Without the exception that may have brought us here: the process still finishes what it was given.
            await self._tasks.__aexit__(None, None, None)
        finally:
            killer.cancel()
            self._settle(None)

    async def ask(self, op: str, body: bytes = b"") -> bytes:
        """Ask something that changes nothing. Raises StoreError."""
        return await self._call(op, body, change=False)

    async def change(self, op: str, body: bytes) -> bytes:
        """Have something changed. Raises StoreError when it was not, and KeyError when the process says so.

        Waits as long as nobody can say whether it was, which is while a process that died cannot be started again.
        """
        return await self._call(op, body, change=True)

    async def _call(self, op: str, body: bytes, *, change: bool) -> bytes:
        async with self._slots:
            await self._decided.wait()
            process = self._process
            if process is None or process.stdin is None or self._closing:
                raise StoreError(self._outage)
            self._n += 1
            answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            try:
                request = frames.frame(Request(self._n, op, body))
            except OverflowError as error:
                raise StoreError("the batch is larger than 4 GiB") from error
            self._pending[self._n] = (answer, change)
            process.stdin.write(request)
            with contextlib.suppress(ConnectionError):  # it died, and the supervisor will say so
                await process.stdin.drain()
            return await answer

    async def _supervise(self, process: asyncio.subprocess.Process) -> None:
        pause = 0.0
        try:
            while True:
                began = self._clock.monotonic()
                await self._receive(process)
                code = await _reap(process)
                if self._closing:
                    return
                self._process = None
                self._decided.clear()
                self._outage = f"the {self._name} ended unexpectedly (exit code {code})"
                log.error("%s and is started again", self._outage)
                self._fail_questions()
                pause = 0.0 if self._clock.monotonic() - began > STABLE else _longer(pause)
                process = await self._restart(pause)
        finally:
            self._decided.set()
            if self._process is not None:
                self._kill()
                await _reap(self._process)
                self._process = None

    async def _restart(self, pause: float) -> asyncio.subprocess.Process:
        while True:
            if pause > FIRST_PAUSE:
                self._decided.set()
                await self._clock.sleep(pause)
                self._decided.clear()
            try:
                self._process, greeting = await self._start()
            except StoreError as error:
                if str(error) != self._outage:
                    self._outage = str(error)
                    log.error("the %s cannot be started: %s", self._name, error)
                pause = _longer(pause)
                continue
            log.info("the %s runs again", self._name)
            self._settle(_mark.decode(greeting) if greeting else None)
            self._decided.set()
            return self._process

    async def _first_start(self) -> asyncio.subprocess.Process:
        """As `_start`, again when the process was killed; what it refuses by itself, nothing cures by itself."""
        for pause in FIRST_STARTS:
            try:
                return (await self._start())[0]
            except _EndedError as error:
                log.warning("%s, and is started again", error)
                await self._clock.sleep(pause)
        return (await self._start())[0]

    async def _start(self) -> tuple[asyncio.subprocess.Process, bytes]:
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe, limit=1 << 20)
        except OSError as error:
            raise StoreError(f"the {self._name} cannot be started: {error}") from error
        greeting: Answer | None = None
        try:
            async with asyncio.timeout(START_PATIENCE):
                greeting = await _next(process)
        except TimeoutError as error:
            raise StoreError(f"the {self._name} did not start within {START_PATIENCE:.0f} s") from error
        finally:
            if greeting is None or greeting.outcome != frames.OK:
                # One that ends by itself first: to kill it then would take its exit code from asyncio.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(ENDING):
                        await process.wait()
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                code = await _reap(process)
        if greeting is None:
            raise _EndedError(f"the {self._name} ended while it started (exit code {code})")
        if greeting.outcome != frames.OK:
            raise StoreError(greeting.body.decode())
        return process, greeting.body

    async def _receive(self, process: asyncio.subprocess.Process) -> None:
        while (answer := await _next(process)) is not None:
            waiting, _ = self._pending.pop(answer.n)
            if waiting.done():  # whoever asked was cancelled
                continue
            if answer.outcome == frames.OK:
                waiting.set_result(answer.body)
            elif answer.outcome == frames.KEY:
                waiting.set_exception(KeyError(answer.body.decode()))
            else:
                waiting.set_exception(StoreError(answer.body.decode()))

    def _fail_questions(self) -> None:
        for n, (waiting, change) in list(self._pending.items()):
            if not change:
                del self._pending[n]
                if not waiting.done():
                    waiting.set_exception(StoreError(self._outage))

    def _settle(self, mark: Mark | None) -> None:
        """Answer what a dead process left open. At most its last request was done without our hearing of it."""
        for n, (waiting, _) in self._pending.items():
            if waiting.done():
                continue
            if mark is not None and mark.n == n:
                waiting.set_result(mark.answer)
            else:
                waiting.set_exception(StoreError(self._outage))
        self._pending.clear()

    def _kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()


async def _next(process: asyncio.subprocess.Process) -> Answer | None:
    if process.stdout is None:
        return None
    try:
        head = await process.stdout.readexactly(frames.LENGTH)
        return _answer.decode(await process.stdout.readexactly(int.from_bytes(head, "big")))
    except asyncio.IncompleteReadError:
        return None


async def _reap(process: asyncio.subprocess.Process) -> int:
    """Wait for the end and close our side of the pipes."""
    if process.stdin is not None:
        process.stdin.close()
        with contextlib.suppress(ConnectionError, OSError):
            await process.stdin.wait_closed()
    return await process.wait()


def _longer(pause: float) -> float:
    return min(max(pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
