"""What keeps a robot safe without its hub: modes, emergency stop and its latch, limits, watchdogs, and the judgement of
commands. `core` and what it uses are pure; `store`, `watchdog` and `node` put files, a thread and a lock around it.

It imports the driver contract and the wire contract, and nothing else of the edge.
"""

from botyard_edge.safety.core import OWN_IDS
from botyard_edge.safety.declared import declared
from botyard_edge.safety.effects import Cause, ClearRefusedError, Verdict
from botyard_edge.safety.node import Listener, SafetyNode
from botyard_edge.safety.policy import NO_POLICY, Policy, read_policy
from botyard_edge.safety.store import Store
from botyard_edge.safety.watchdog import LoopWatch, Watchdog

__all__ = [
    "NO_POLICY",
    "OWN_IDS",
    "Cause",
    "ClearRefusedError",
    "Listener",
    "LoopWatch",
    "Policy",
    "SafetyNode",
    "Store",
    "Verdict",
    "Watchdog",
    "declared",
    "read_policy",
]
