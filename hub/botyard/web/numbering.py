"""Numbers messages of robots that speak plain HTTP and do not number them themselves."""

import secrets
from collections import Counter


class Numbering:
    """An epoch of its own for each life of the hub, and in it a sequence for each robot."""

    def __init__(self) -> None:
        self._epoch = f"http-{secrets.token_hex(6)}"
        self._sequences: Counter[str] = Counter()

    def next(self, robot: str) -> tuple[str, int]:
        """Epoch and sequence number of the robot's next message."""
        self._sequences[robot] += 1
        return self._epoch, self._sequences[robot]
