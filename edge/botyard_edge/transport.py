"""What the link needs of a transport: one session at a time, with a last will, topics and two qualities of service."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol


class TransportError(Exception):
    """There is no connection, or no more; the sentence says why."""


class Received(NamedTuple):
    """A message from the hub."""

    topic: str
    payload: bytes


class Will(NamedTuple):
    """What the broker publishes (retained) when the session ends without a goodbye."""

    topic: str
    payload: bytes


class Session(Protocol):
    """A connection that is up."""

    async def subscribe(self, topic: str) -> None:
        """Raises TransportError when the broker refuses."""

    async def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool = False, wait: bool = False) -> None:
        """Send a message; with `wait` return only when the broker has confirmed it. Raises TransportError."""

    def messages(self) -> AsyncIterator[Received]:
        """What arrives, until the connection ends with a TransportError."""


class Transport(Protocol):
    """Makes sessions. `address` is for log lines and never holds a password."""

    @property
    def address(self) -> str: ...

    def session(self, will: Will) -> AbstractAsyncContextManager[Session]:
        """Connect; raises TransportError. Leaving says goodbye, so that the will is not sent."""
