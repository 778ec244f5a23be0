"""Everything that SQLite does to its files, write by write, and what a disk may hold after a power cut at any of them.

A SQLite VFS that passes all on to the real one and notes writes, truncations, syncs and deletions. See
https://sqlite.org/vfs.html and https://sqlite.org/c3ref/io_methods.html for the structures.
"""

import _sqlite3
import ctypes
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512

Files = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Operation:
    """`kind` is write, truncate, sync or delete; `at` is the offset, the new size, or whether a deletion is synced."""

    kind: str
    name: str
    at: int = 0
    data: bytes = b""


class _Vfs(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_int),
        ("file_size", ctypes.c_int),
        ("max_path", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("open", ctypes.c_void_p),
        ("delete", ctypes.c_void_p),
        ("others", ctypes.c_void_p * 14),
    ]


class _Methods(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_int),
        ("close", ctypes.c_void_p),
        ("read", ctypes.c_void_p),
        ("write", ctypes.c_void_p),
        ("truncate", ctypes.c_void_p),
        ("sync", ctypes.c_void_p),
        ("others", ctypes.c_void_p * 13),
    ]


class _File(ctypes.Structure):
    _fields_ = [("methods", ctypes.POINTER(_Methods))]


_FILE = ctypes.POINTER(_File)
# Paths as bare pointers: SQLite goes on using the very memory that it gave to `open`.
_OPEN = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, _FILE, ctypes.c_int, ctypes.c_void_p)
_DELETE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
_WRITE = ctypes.CFUNCTYPE(ctypes.c_int, _FILE, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64)
_TRUNCATE = ctypes.CFUNCTYPE(ctypes.c_int, _FILE, ctypes.c_int64)
_SYNC = ctypes.CFUNCTYPE(ctypes.c_int, _FILE, ctypes.c_int)


@dataclass
class Recorder:
    """What was done so far, in order."""

    operations: list[Operation] = field(default_factory=list)
    _kept: list[object] = field(default_factory=list)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """All files that SQLite opens in this process meanwhile; they must be closed again before the end."""
        library = ctypes.CDLL(_sqlite3.__file__)
        library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
        library.sqlite3_vfs_find.argtypes = [ctypes.c_char_p]
        library.sqlite3_vfs_register.argtypes = [ctypes.c_void_p, ctypes.c_int]
        library.sqlite3_vfs_unregister.argtypes = [ctypes.c_void_p]
        real = library.sqlite3_vfs_find(None)
        mine = _Vfs.from_buffer_copy(real.contents)
        mine.name = b"recorder"
        mine.open, mine.delete = self._opening(real), self._deleting(real)
        assert library.sqlite3_vfs_register(ctypes.byref(mine), 1) == 0
        try:
            yield
        finally:
            library.sqlite3_vfs_unregister(ctypes.byref(mine))
            library.sqlite3_vfs_register(real, 1)

    def _opening(self, real: "ctypes._Pointer[_Vfs]") -> int | None:
        through = _OPEN(real.contents.open)

        def opened(_: int, path: int | None, file: "ctypes._Pointer[_File]", flags: int, out: int) -> int:
            code: int = through(ctypes.addressof(real.contents), path, file, flags, out)
            if code == 0 and path is not None:
                file.contents.methods = self._methods(file.contents.methods.contents, _name(path))
            return code

        return self._pointer(_OPEN(opened))

    def _deleting(self, real: "ctypes._Pointer[_Vfs]") -> int | None:
        through = _DELETE(real.contents.delete)

        def deleted(_: int, path: int, sync: int) -> int:
            code: int = through(ctypes.addressof(real.contents), path, sync)
            if code == 0:
                self.operations.append(Operation("delete", _name(path), sync))
            return code

        return self._pointer(_DELETE(deleted))

    def _methods(self, real: _Methods, name: str) -> "ctypes._Pointer[_Methods]":
        mine = _Methods.from_buffer_copy(real)
        write, truncate, sync = _WRITE(real.write), _TRUNCATE(real.truncate), _SYNC(real.sync)
        note = self.operations.append

        def written(file: object, data: int, size: int, at: int) -> int:
            note(Operation("write", name, at, ctypes.string_at(data, size)))
            return int(write(file, data, size, at))

        def truncated(file: object, size: int) -> int:
            note(Operation("truncate", name, size))
            return int(truncate(file, size))

        def synced(file: object, flags: int) -> int:
            code: int = sync(file, flags)
            note(Operation("sync", name))
            return code

        mine.write = self._pointer(_WRITE(written))
        mine.truncate = self._pointer(_TRUNCATE(truncated))
        mine.sync = self._pointer(_SYNC(synced))
        self._kept.append(mine)
        return ctypes.pointer(mine)

    def _pointer(self, function: object) -> int | None:
        self._kept.append(function)  # SQLite holds only its address
        return ctypes.cast(function, ctypes.c_void_p).value  # type: ignore[arg-type]


def _name(path: int) -> str:
    return Path(ctypes.string_at(path).decode()).name


class Disk:
    """A disk with a cache: what was synced is there after a power cut, and of the rest any part may be."""

    def __init__(self) -> None:
        self.seen: Files = {}  # as a process that comes after the one that was killed sees it
        self._safe: Files = {}
        self._loose: list[Operation] = []

    def do(self, operation: Operation) -> None:
        """The next operation."""
        _apply(self.seen, operation)
        if operation.kind != "sync":
            self._loose.append(operation)
        if operation.kind != "sync" and not (operation.kind == "delete" and operation.at):
            return
        for loose in self._loose:
            if loose.name == operation.name:
                _apply(self._safe, loose)
        self._loose = [loose for loose in self._loose if loose.name != operation.name]

    def after_power_cut(self, dice: random.Random) -> Iterator[Files]:
        """What may be left: nothing of what was not synced, or any part of it, in sectors and in no order."""
        yield dict(self._safe)
        if self._loose:
            files = dict(self._safe)
            for operation in self._loose:
                for part in _sectors(operation):
                    if dice.random() < 0.5:
                        _apply(files, part)
            yield files


def _sectors(operation: Operation) -> Iterator[Operation]:
    if operation.kind != "write":
        yield operation
        return
    begin = 0
    while begin < len(operation.data):
        end = begin + SECTOR - (operation.at + begin) % SECTOR
        yield Operation("write", operation.name, operation.at + begin, operation.data[begin:end])
        begin = end


def _apply(files: Files, operation: Operation) -> None:
    known = files.get(operation.name, b"")
    if operation.kind == "write":
        end = operation.at + len(operation.data)
        files[operation.name] = known[: operation.at].ljust(operation.at, b"\0") + operation.data + known[end:]
    elif operation.kind == "truncate":
        files[operation.name] = known[: operation.at].ljust(operation.at, b"\0")
    elif operation.kind == "delete":
        files.pop(operation.name, None)
