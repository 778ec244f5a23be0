"""The safety node's memory on a disk that may fail: what could not be written is written once that works again."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable
from typing import Literal

from botyard_edge.safety.effects import Cause, Record
from botyard_edge.safety.ledger import Ledger
from botyard_edge.safety.store import FULL, Rewriting, Store
from botyard_schemas.messages import Event

log = logging.getLogger(__name__)

# Seconds between two attempts to write what is owed to the disk.
RETRY = 1.0

_What = Literal["latch", "ledger"]


class Files:
    """Latch and ledger of one robot. `store` None: nothing is remembered. All is called under `lock`, but for `synced`.
    `threads`: what takes long is done in another thread. `tell` hears when the disk fails, and when it works again."""

    def __init__(
        self,
        store: Store | None,
        lock: threading.RLock,
        ledger: Ledger,
        *,
        threads: bool,
        steady: Callable[[], float],
        tell: Callable[[Event], None],
    ) -> None:
        self._store = store
        self._lock = lock
        self._ledger = ledger
        self._threads = threads
        self._steady = steady
        self._tell = tell
        self._owed: set[_What] = set()
        self._retry_at = 0.0
        self._noted = self._synced = 0
        self._rewriting: threading.Thread | None = None

    @property
    def due(self) -> float | None:
        """The moment of the steady clock at which `pay` has something to do; None: nothing is owed."""
        return self._retry_at if self._owed else None

    def load(self, now: int) -> tuple[list[Cause], list[Record]]:
        """See `Store.load`."""
        return ([], []) if self._store is None else self._store.load(now)

    def keep(self, latched: Iterable[Cause]) -> None:
        """Have the latch on the disk."""
        if (store := self._store) is not None:
            self._try("latch", lambda: store.keep(latched))

    def note(self, record: Record) -> None:
        """Add to the ledger's file."""
        if (store := self._store) is None:
            return
        self._noted += 1
        if "ledger" not in self._owed:  # else it is written as a whole once that can be
            self._try("ledger", lambda: store.note(record))
        if store.written > FULL and self._rewriting is None:
            self.write_anew(in_thread=self._threads)

    def pay(self, latched: Iterable[Cause]) -> None:
        """Write what is owed, if the last attempt is long enough ago."""
        if not self._owed or self._steady() < self._retry_at:
            return
        if "latch" in self._owed:
            self.keep(latched)
        if "ledger" in self._owed and self._rewriting is None:
            self._retry_at = self._steady() + RETRY
            self.write_anew(in_thread=self._threads)

    def write_anew(self, *, in_thread: bool = False) -> None:
        """Write the ledger's file anew, without what has been superseded."""
        if self._store is None:
            return
        work = self._store.rewriting(self._ledger.records())
        if not in_thread:
            self._rewrite(work)
            return
        self._rewriting = threading.Thread(target=self._rewrite, args=(work,), name="edge.safety.ledger", daemon=True)
        self._rewriting.start()

    async def synced(self) -> None:
        """Have everything that was noted until now on the disk when this returns."""
        wanted = self._noted
        if (store := self._store) is None or self._synced >= wanted:
            return
        if self._threads:
            await asyncio.to_thread(self._sync, store)
        else:
            self._sync(store)
        self._synced = max(self._synced, wanted)

    def close(self, latched: Iterable[Cause]) -> None:
        """Write what is still owed, if that can be, and let go of the files."""
        if (thread := self._rewriting) is not None:
            self._lock.release()  # it needs the lock to end
            try:
                thread.join()
            finally:
                self._lock.acquire()
        self._retry_at = 0.0
        self._threads = False
        self.pay(latched)
        if self._store is not None:
            self._store.close()

    def _rewrite(self, work: Rewriting) -> None:
        try:
            self._try("ledger", lambda: work(self._lock))
        finally:
            self._rewriting = None

    def _sync(self, store: Store) -> None:
        try:
            store.sync()
        except OSError as error:
            with self._lock:
                self._failed("ledger", error)

    def _try(self, what: _What, work: Callable[[], None]) -> None:
        try:
            work()
        except OSError as error:
            with self._lock:
                self._failed(what, error)
        else:
            with self._lock:
                self._worked(what)

    def _failed(self, what: _What, error: OSError) -> None:
        self._retry_at = self._steady() + RETRY
        if not self._owed:
            path = self._store.path if self._store is not None else ""
            log.error("%s cannot be written: %s; it is tried again and again", path, error)
            sentence = f"what is latched would not survive a restart, since the disk cannot be written: {error}"
            self._tell(Event("safety.disk_failed", "error", sentence[:4096]))
        self._owed.add(what)

    def _worked(self, what: _What) -> None:
        if what in self._owed:
            self._owed.discard(what)
            if not self._owed:
                log.info("the safety node's files can be written again")
                self._tell(Event("safety.disk_recovered", "info", "what is latched is on the disk again"))
