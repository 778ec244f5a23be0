"""How deep a JSON value nests."""

from collections.abc import Iterable
from typing import Any

# How deep the free parts of a message may nest. A parser stands more, but whoever writes the message on, from deeper in
# the call stack, might not.
MAX_DEPTH = 32


def nests_deeper(value: Any, depth: int) -> bool:
    """Whether it holds objects or lists on more levels than that, itself counted as none."""
    level = [value]
    for _ in range(depth + 1):
        level = [part for node in level if isinstance(node, dict | list) for part in _parts(node)]
        if not level:
            return False
    return True


def _parts(node: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return node.values() if isinstance(node, dict) else node
