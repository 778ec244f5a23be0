"""Which tables move from one database to another, what their rows are like, and how their content is compared.

Made from the models, so a new table is taken along by itself, or is named in `LEFT_OUT` with the reason.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec
from tortoise import fields
from tortoise.models import MetaInfo, Model

from botyard.store import models

Row: TypeAlias = Sequence[Any]
Key: TypeAlias = int | str

# Tables that do not move, and why.
LEFT_OUT = {
    "mark": "what the writer of one database committed last means nothing in another one",
    "total": "counted when a store opens the database",
    "size": "what one database took on the disk says nothing of another one",
}

# How each kind of column is compared. Subclasses come before their bases.
KINDS: tuple[tuple[type[fields.Field[Any]], str], ...] = (
    (fields.BooleanField, "bool"),
    (fields.BigIntField, "int"),
    (fields.IntField, "int"),
    (fields.SmallIntField, "int"),
    (fields.FloatField, "float"),
    (fields.CharField, "text"),
    (fields.TextField, "text"),
    (fields.BinaryField, "bytes"),
)

MODULUS = 1 << 256

_pack = msgspec.msgpack.Encoder().encode


class Table(NamedTuple):
    """A table that moves: its columns, the key first, and their `KINDS`; `numbered`: the database gives the ids."""

    name: str
    columns: tuple[str, ...]
    kinds: tuple[str, ...]
    numbered: bool

    @property
    def key(self) -> str:
        """The column by which a copy goes on."""
        return self.columns[0]

    @property
    def quoted(self) -> str:
        """The columns as SQL names them."""
        return ", ".join(f'"{column}"' for column in self.columns)


def tables() -> list[Table]:
    """All that move, in the models' order. Raises TypeError about a column of a kind that nobody compares yet."""
    found = [value for value in vars(models).values() if isinstance(value, type) and issubclass(value, Model)]
    every = [_table(model._meta) for model in found if model is not Model]  # noqa: SLF001 - Tortoise has no other door
    return [table for table in every if table.name not in LEFT_OUT]


def _table(meta: MetaInfo) -> Table:
    key = meta.fields_map[meta.pk_attr]
    ordered = sorted(meta.fields_map.items(), key=lambda item: item[0] != meta.pk_attr)
    columns = tuple(field.source_field or name for name, field in ordered)
    kinds = tuple(_kind(meta.db_table, name, field) for name, field in ordered)
    return Table(meta.db_table, columns, kinds, numbered=key.generated)


def _kind(table: str, name: str, field: fields.Field[Any]) -> str:
    for known, kind in KINDS:
        if isinstance(field, known):
            return kind
    raise TypeError(f"{table}.{name}: nobody has said how a {type(field).__name__} moves to another database")


class Content:
    """Counts rows, and sums their hashes: the same rows give the same sum, in whatever order a database gives them.

    A row's hash is BLAKE2b of its values as msgpack; hashes are added modulo 2**256 (the multiset hash of Bellare and
    Micciancio, "A New Paradigm for Collision-Free Hashing", 1997), so a row that is there twice is seen, too.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._sum = 0

    def add(self, rows: Iterable[Row]) -> None:
        """Take rows in, their values as `Table.kinds` says."""
        for row in rows:
            self.rows += 1
            self._sum += int.from_bytes(hashlib.blake2b(_pack(tuple(row)), digest_size=32).digest())

    @property
    def checksum(self) -> str:
        """The sum, as 64 hexadecimal digits."""
        return f"{self._sum % MODULUS:064x}"


def size_of(row: Row) -> int:
    """About how many bytes a row has."""
    return 32 + sum(len(value) for value in row if isinstance(value, bytes | str))
