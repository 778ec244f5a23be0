"""What plugins implement and what they are given."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, Self

import msgspec
import pluggy

from botyard.core.actor import Actor
from botyard.core.bus import Bus
from botyard.core.config import Config
from botyard_schemas import Envelope
from botyard_schemas.clock import Clock

hookimpl = pluggy.HookimplMarker("botyard")


@dataclass(frozen=True, slots=True)
class PluginContext:
    """What a hook gets to build its objects with. The data folder (`config.data`) exists."""

    config: Config
    bus: Bus
    clock: Clock


@dataclass(frozen=True, slots=True)
class Connection:
    """Somebody who wants in: a visitor's request or a robot's connection.

    `peer` is the IP address of the other side; None when a broker stands in between, which has then checked the
    credentials itself. `forwarded` says that a proxy stands in between, so that `peer` is the proxy's address.
    """

    kind: Literal["request", "robot"]
    transport: str
    peer: str | None
    forwarded: bool = False
    token: str | None = None
    robot: str | None = None
    method: str | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Allow:
    """The connection may go on; what it does is done by `actor`."""

    actor: Actor


@dataclass(frozen=True, slots=True)
class Deny:
    """The connection is refused; `reason` is told to the other side in one sentence."""

    reason: str


Access = Allow | Deny


class AuthProvider(abc.ABC):
    """Decides about connections. All providers are asked, in order; the first answer that is not None counts."""

    @abc.abstractmethod
    async def authenticate(self, connection: Connection) -> Access | None:
        """Allow, deny, or None when this provider has no opinion. When nobody has one, the connection is refused."""

    def broker_token(self) -> str | None:
        """The password that the embedded broker asks robots for when it can be reached from other machines."""
        return None


class Inbound(msgspec.Struct, frozen=True, gc=False):
    """A message as it came in. `received` is microseconds since 1970, by the hub's clock.

    `retained` says that a broker had kept it from before: it was true once, and nobody is known to be there now.
    """

    topic: str
    payload: bytes
    received: int
    transport: str
    peer: str | None = None
    retained: bool = False


class Inbox(Protocol):
    """Where a transport puts what robots send."""

    async def receive(self, message: Inbound, token: str | None = None) -> object:
        """Take a message in. Waits while the store is behind, so that the transport stops reading. Never raises because
        of the message's content. `token` is what the robot gave to prove itself, if the transport knows."""

    async def receive_all(self, messages: Sequence[Inbound]) -> None:
        """Take several messages in, in their order, as `receive` does. Cheaper than one by one."""


class Transport(abc.ABC):
    """Carries envelopes between robots and the hub. Connects, and reconnects by itself, while its `async with` lasts.

    Entering must not wait for the other side: a hub starts without its broker. Connection changes are published as
    `TransportChanged`.
    """

    name: str

    @abc.abstractmethod
    async def __aenter__(self) -> Self: ...

    @abc.abstractmethod
    async def __aexit__(self, *exc: object) -> None: ...

    @abc.abstractmethod
    async def send(self, envelope: Envelope) -> bool:
        """Send to the robot named in the envelope; False when that is not possible now. Does not wait long."""

    async def acknowledge(self, acks: Sequence[Envelope]) -> None:
        """Send acknowledgements to many robots, which are repeated when they are lost. One by one unless a transport
        can do better."""
        for ack in acks:
            await self.send(ack)

    @property
    @abc.abstractmethod
    def address(self) -> str:
        """Where robots find it, as a URL without credentials."""

    @property
    @abc.abstractmethod
    def connected(self) -> bool:
        """Whether messages can pass now."""

    @property
    def error(self) -> str | None:
        """Why it is not connected, in one sentence."""
        return None

    @property
    def connections(self) -> int | None:
        """How many robots are connected to the hub itself; None when something stands in between that knows better."""
        return None


class RobotSocket(Protocol):
    """An open WebSocket of a robot. Frames are whole messages, text or binary alike."""

    async def receive(self) -> bytes | None:
        """The next frame; None once the socket is closed. What is not received is not read from the network either."""

    async def send(self, frame: bytes) -> None:
        """Send a frame of UTF-8 text. Waits while the other side does not read. Does nothing once it is closed."""

    async def close(self, code: int, reason: str) -> None:
        """Close it; `code` is one of RFC 6455 or from 4000 on, `reason` a sentence of at most 123 bytes."""


class SocketTransport(Transport):
    """A transport whose robots open WebSockets at the hub's web server, at `path`.

    The web server checks host and origin and asks the auth providers; it calls `serve` for whoever may come in.
    """

    path: str

    @abc.abstractmethod
    def listening(self, url: str | None) -> None:
        """The web server listens at this URL (`http://…`) now; None: no longer."""

    @abc.abstractmethod
    async def serve(self, socket: RobotSocket, connection: Connection) -> None:
        """Serve one socket until it is closed. `connection.robot` is None when the robot has not named itself yet.

        Cancelled when the hub stops.
        """
