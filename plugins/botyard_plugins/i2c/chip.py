"""What every chip has in common, and the part of `smbus2.SMBus` that is used."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from botyard_edge.driver import Channel, Command, CommandSpec


class Bus(Protocol):
    """Transactions of `smbus2.SMBus`; each raises OSError when the chip does not answer."""

    def read_byte_data(self, i2c_addr: int, register: int) -> int: ...
    def write_byte_data(self, i2c_addr: int, register: int, value: int) -> None: ...
    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]: ...
    def write_i2c_block_data(self, i2c_addr: int, register: int, data: Sequence[int]) -> None: ...
    def close(self) -> None: ...


class WrongChipError(Exception):
    """Something answers at the address, and it is not this chip; says what it called itself."""


class Chip(ABC):
    """One chip. Everything but the properties blocks, and is called in the bus's thread, one after the other."""

    TITLE: ClassVar[str]
    ADDRESS: ClassVar[int]
    OPTIONS: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self.name = name
        self.address: int = options.get("address", self.ADDRESS)

    @property
    @abstractmethod
    def channels(self) -> tuple[Channel, ...]:
        """What the chip measures."""

    @property
    def commands(self) -> tuple[CommandSpec, ...]:
        """What the chip does."""
        return ()

    @abstractmethod
    def begin(self, bus: Bus) -> None:
        """Set the chip up; also after it has lost its power. Raises OSError and WrongChipError."""

    @abstractmethod
    def read(self, bus: Bus) -> dict[str, Any]:
        """Values by channel. Raises OSError."""

    def execute(self, bus: Bus, command: Command) -> None:
        """Do what the command asks. Raises OSError."""
        raise NotImplementedError(command.name)

    def rest(self, bus: Bus) -> None:  # noqa: B027 - what only measures is at rest
        """Bring what the chip moves to rest. Raises OSError."""

    def read_word(self, bus: Bus, register: int) -> int:
        """16 bits, the high byte first, as these chips send them (SMBus words have the low byte first)."""
        high, low = bus.read_i2c_block_data(self.address, register, 2)
        return high << 8 | low

    def write_word(self, bus: Bus, register: int, value: int) -> None:
        """16 bits, the high byte first."""
        bus.write_i2c_block_data(self.address, register, [value >> 8, value & 0xFF])

    def expect(self, bus: Bus, register: int, ids: Sequence[int]) -> None:
        """Raises WrongChipError unless the register that holds the chip's id has one of these values."""
        found = bus.read_byte_data(self.address, register)
        if found not in ids:
            raise WrongChipError(f"what answers there has the id {found:#04x}, expected {ids[0]:#04x}")


def signed(value: int, bits: int = 16) -> int:
    """Two's complement."""
    return value - (1 << bits) if value >> (bits - 1) else value
