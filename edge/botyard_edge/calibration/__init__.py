"""What a robot's values and commands are corrected by: profiles with versions, on the robot, applied live.

`sound` says which corrections make sense, `correct` applies them, `fit` finds them from samples, and `drift` notices
when they no longer hold: all pure. `history` and `store` keep the versions, and `node` puts them to work.
"""

from botyard_edge.calibration.draft import CalibrationError, read_draft
from botyard_edge.calibration.history import History, differences
from botyard_edge.calibration.node import CalibrationNode
from botyard_edge.calibration.store import Store
from botyard_edge.calibration.surroundings import Surroundings

__all__ = ["CalibrationError", "CalibrationNode", "History", "Store", "Surroundings", "differences", "read_draft"]
