"""A real PostgreSQL for tests: its own data, its own ports, nothing of the machine's own server."""

import asyncio
import contextlib
import getpass
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path

import asyncpg
import psutil

from tests.processes import WITHIN, free_port, wait_until

USER, PASSWORD = "ann", "se:cr@t/1"
QUOTED = "se%3Acr%40t%2F1"

# Made to be thrown away, so nothing needs to reach the disk: it outlives kills, not power cuts.
SETTINGS = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "32MB", "max_connections": "40"}


def program(name: str) -> str:
    """Where a program of PostgreSQL is: on PATH, or where Debian keeps those of each version."""
    if found := shutil.which(name):
        return found
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    if not versions:
        raise FileNotFoundError(f"{name} is not installed: install Debian's package postgresql, or the like")
    return str(versions[-1])


class PostgresServer:
    """A server with the user `USER`. Data and Unix socket are in a short path, since sockets allow no long ones."""

    def __init__(self, settings: Mapping[str, str] = SETTINGS) -> None:
        self._settings = settings
        self.folder = Path(tempfile.mkdtemp(prefix="by-pg-", dir="/tmp"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count()
        self._account = self._unprivileged()
        (self.folder / "password").write_text(PASSWORD)
        self._run("initdb", "-D", "data", "-U", USER, "-A", "scram-sha-256", "--pwfile=password", "-E", "UTF8",
                  "--locale=C.UTF-8", "--no-sync", "--no-instructions")  # fmt: skip
        self.start()

    def url(self, database: str) -> str:
        """URL of a database, over TCP."""
        return f"postgresql://{USER}:{QUOTED}@127.0.0.1:{self.port}/{database}"

    def socket_url(self, database: str) -> str:
        """URL of a database, over the Unix socket."""
        return f"postgresql://{USER}:{QUOTED}@/{database}?host={self.folder}&port={self.port}"

    def start(self) -> None:
        """Start, or start again on the same data, and wait until it answers."""
        settings = {**self._settings, "port": str(self.port), "unix_socket_directories": str(self.folder)}
        arguments = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        deadline = time.monotonic() + WITHIN
        while True:
            with (self.folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    [program("postgres"), "-D", "data", "-c", "listen_addresses=127.0.0.1", *arguments],
                    cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._account,
                )  # type: ignore[call-overload]  # fmt: skip
            while self._process.poll() is None:
                with contextlib.suppress(OSError, asyncpg.PostgresError):
                    asyncio.run(self._execute("postgres", "SELECT 1"))
                    return
                time.sleep(0.02)
            # What a killed server shared with its last process may not be given back yet.
            if time.monotonic() > deadline:
                raise AssertionError(f"PostgreSQL does not start:\n{self.output()}")
            time.sleep(0.05)

    def kill(self) -> None:
        """As a power cut would, all of its processes."""
        if self._process is None or self._process.poll() is not None:
            return
        family = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()
        self._process.wait(10)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        wait_until(lambda: not any(map(_lives, family)), "PostgreSQL's processes are gone")

    def close(self) -> None:
        """End it and remove its data."""
        self.kill()
        shutil.rmtree(self.folder)

    def output(self) -> str:
        """What it said."""
        return (self.folder / "log").read_text(errors="replace")

    def execute(self, database: str, *statements: str) -> None:
        """Run statements, each in a transaction of its own. For tests without an event loop."""
        asyncio.run(self._execute(database, *statements))

    def create(self, template: str = "template0", options: str = "") -> str:
        """A new database like `template`; gives its name."""
        name = f"test_{next(self._numbers)}"
        if int((self.folder / "data" / "PG_VERSION").read_text()) >= 15:  # else through the log, at twice the cost
            options += " STRATEGY FILE_COPY"
        self.execute("postgres", f'CREATE DATABASE "{name}" TEMPLATE "{template}" {options}')
        return name

    async def _execute(self, database: str, *statements: str) -> None:
        connection = await asyncpg.connect(self.url(database), timeout=5)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    def _unprivileged(self) -> dict[str, object]:
        """How to run programs as somebody whom PostgreSQL accepts: it refuses root."""
        if os.geteuid() != 0:
            return {"env": {**os.environ, "USER": getpass.getuser()}}
        names = [entry.pw_name for entry in pwd.getpwall()]
        account = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
        os.chown(self.folder, account.pw_uid, account.pw_gid)
        environment = {**os.environ, "HOME": str(self.folder), "USER": account.pw_name}
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": [], "env": environment}

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [program(name), *arguments], cwd=self.folder, capture_output=True, text=True, check=False, **self._account
        )  # type: ignore[call-overload]
        assert done.returncode == 0, done.stderr


def _lives(process: psutil.Process) -> bool:
    """Zombies do not: who inherits them may take its time."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
