"""Who did something. Every event of the hub carries one."""

from typing import Literal

import msgspec


class Actor(msgspec.Struct, frozen=True):
    """`kind:name`, as it stands in events: `robot:picker-7`, `user:loopback`, `hub`."""

    kind: Literal["hub", "user", "robot"]
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind

    @classmethod
    def parse(cls, text: str) -> "Actor":
        """From what `str` made of an actor. Raises ValidationError."""
        kind, _, name = text.partition(":")
        return msgspec.convert({"kind": kind, "name": name}, cls)


HUB = Actor("hub")


def robot_actor(robot: str) -> Actor:
    """The actor of what a robot did itself."""
    return Actor("robot", robot)
