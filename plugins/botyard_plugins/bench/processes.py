"""The processes of a benchmark: a hub of its own, and the generators."""

import asyncio
import contextlib
import itertools
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import msgspec

from botyard_plugins.bench.generator import Task
from botyard_plugins.bench.plan import Plan

STOP_WITHIN = 40.0
ANSWER_WITHIN = 60.0
LINE = 64 * 2**20  # the longest line that a generator says: all robots' numbers


class BenchError(Exception):
    """The benchmark cannot go on; the sentence says why."""


def free_port() -> int:
    """A port that nobody listens on, and that the system gives to no outgoing connection."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


async def start(arguments: Sequence[str], **options: Any) -> asyncio.subprocess.Process:
    """A process that Ctrl+C does not reach, since its owner ends it, and that ends when its owner is killed."""
    command = [sys.executable, "-P", *arguments]
    if leash := shutil.which("setpriv"):
        # an owner that died before the kernel was asked would leave it behind, so it looks whether it has that owner
        check = '[ "$PPID" = "$0" ] && exec "$@"'
        command = [leash, "--pdeathsig", "TERM", "--", "sh", "-c", check, str(os.getpid()), *command]
    options = {"stdin": asyncio.subprocess.DEVNULL, **options}
    return await asyncio.create_subprocess_exec(*command, start_new_session=True, **options)


async def end(process: asyncio.subprocess.Process, within: float = STOP_WITHIN) -> None:
    """Ask it to end, and see that it does."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), within)


class OwnHub:
    """A hub in a temporary folder, on free ports, while the `async with` lasts."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.url = ""
        self.broker = ""
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Process id."""
        assert self._process  # noqa: S101 - only inside the `async with`
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it is not running (any more)."""
        return self._process is None or self._process.returncode is not None

    async def __aenter__(self) -> Self:
        self.folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="botyard-bench-"))
        web, broker = free_port(), free_port()
        self.url, self.broker = f"http://127.0.0.1:{web}", self._plan.broker or f"mqtt://127.0.0.1:{broker}"
        # other settings of the environment hold here, too, so that they can be measured
        environment = {name: value for name, value in os.environ.items() if name != "BOTYARD_CONFIG"} | {
            "BOTYARD__DATA_DIR": str(self.folder),
            "BOTYARD__WEB__HOST": "127.0.0.1",
            "BOTYARD__WEB__PORT": str(web),
            "BOTYARD__BROKER__HOST": "127.0.0.1",
            "BOTYARD__BROKER__PORT": str(broker),
            "BOTYARD__LOG_LEVEL": "warning",
        }
        if self._plan.store:
            environment["BOTYARD__STORE__URL"] = self._plan.store
        if self._plan.broker:
            environment["BOTYARD__BROKER__URL"] = self._plan.broker
        try:
            with await asyncio.to_thread((self.folder / "hub.log").open, "wb") as log:
                options = {"env": environment, "cwd": self.folder, "stdout": log, "stderr": log}
                self._process = await start(["-m", "botyard.cli.entry", "hub"], **options)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self.stop()
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)

    async def stop(self) -> None:
        """End the hub; its folder stays until the end of the `async with`."""
        if self._process:
            await end(self._process)

    def said(self) -> str:
        """The end of its log."""
        with contextlib.suppress(OSError):
            return (self.folder / "hub.log").read_text(errors="replace").strip()[-2000:]
        return ""

    def size(self) -> int:
        """Bytes of the database's files."""
        return sum(path.stat().st_size for path in self.folder.glob("*.db*") if path.is_file())


class Generators:
    """All processes of virtual robots, as one. Raises BenchError when one of them ends by itself."""

    def __init__(self, plan: Plan, broker: str, run: str) -> None:
        share = [round(i * plan.robots / plan.generators) for i in range(plan.generators + 1)]
        self._tasks = [Task(plan, first, end, broker, run) for first, end in itertools.pairwise(share)]
        self._processes: list[asyncio.subprocess.Process] = []
        self._readers: list[asyncio.Task[None]] = []
        self._reports: list[dict[str, Any]] = [{} for _ in self._tasks]
        self._answers: list[asyncio.Queue[dict[str, Any]]] = [asyncio.Queue() for _ in self._tasks]
        self._fatal: str | None = None

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        try:
            for number, task in enumerate(self._tasks):
                process = await start(
                    ["-m", "botyard_plugins.bench.generator"], stdin=pipe, stdout=pipe, limit=LINE
                )  # fmt: skip
                self._processes.append(process)
                self._say(process, msgspec.json.encode(task))
                reading = asyncio.create_task(self._read(number, process), name=f"bench.generator.{number}")
                self._readers.append(reading)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc: Any) -> None:
        for process in self._processes:
            if process.stdin:
                process.stdin.close()
        await asyncio.gather(*(end(process, 5.0) for process in self._processes))
        for reading in self._readers:
            reading.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)

    @property
    def pids(self) -> list[int]:
        """Process ids."""
        return [process.pid for process in self._processes]

    def tell(self, word: str) -> None:
        """Say a word to all of them."""
        for process in self._processes:
            self._say(process, word.encode())

    async def ask(self, word: str, answer: str) -> list[Any]:
        """Say a word, and give what each of them answers under that name. Raises BenchError."""
        self.tell(word)
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                return [await self._answer(number, answer) for number in range(len(self._tasks))]
        except TimeoutError:
            raise BenchError(f"a generator process did not answer {word!r} within {ANSWER_WITHIN:g} s") from None

    def totals(self) -> dict[str, Any]:
        """Their reports added up; None stands for the last of `drained` while not all have it. Raises BenchError."""
        if self._fatal:
            raise BenchError(self._fatal)
        sums: dict[str, Any] = {
            name: sum(report.get(name, 0) for report in self._reports)
            for name in ("issued", "acked", "sent", "backlog", "met", "connected", "links", "reconnects")
        }
        drained = [when for report in self._reports if (when := report.get("drained")) is not None]
        sums["drained"] = max(drained) if len(drained) == len(self._reports) else None
        sums["problem"] = next((report["problem"] for report in self._reports if report.get("problem")), "")
        sums["reporting"] = all(self._reports)
        return sums

    async def _answer(self, number: int, name: str) -> Any:
        while True:
            if self._fatal:
                raise BenchError(self._fatal)
            with contextlib.suppress(TimeoutError):
                line = await asyncio.wait_for(self._answers[number].get(), 0.5)
                if name in line:
                    return line[name]

    async def _read(self, number: int, process: asyncio.subprocess.Process) -> None:
        assert process.stdout  # noqa: S101 - it was asked for
        async for line in process.stdout:
            said = msgspec.json.decode(line)
            if "issued" in said:
                self._reports[number] = said
            elif "fatal" in said:
                self._fatal = said["fatal"]
            else:
                self._answers[number].put_nowait(said)
        self._fatal = self._fatal or "a generator process ended by itself"

    def _say(self, process: asyncio.subprocess.Process, line: bytes) -> None:
        if process.stdin and not process.stdin.is_closing():
            process.stdin.write(line + b"\n")
