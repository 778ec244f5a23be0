"""The pytest plugin: fixtures `robot`, `fleet`, `faults` and `virtual_clock`, for tests of drivers and of fleets.

Every run of pytest imports this module where Botyard is installed, whether it tests robots or not. So it imports
nothing but pytest before a fixture is asked for, and stands here, beside what it is made of: robots together with a hub
are the business of this package, and `import botyard_edge` alone would cost each start of pytest 25 ms. How to use the
fixtures is told in docs/integrators/testing.md.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from botyard_plugins.simulation.testing import Faults, MakeFleet, MakeRobot, Stage, StageClock


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--botyard-seed`."""
    group = parser.getgroup("botyard", "simulated robots")
    group.addoption("--botyard-seed", type=int, default=1, metavar="N", help="random numbers of the robots under test")


@pytest.fixture
def _botyard_stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Stage]":
    try:
        import botyard.store.sqlite  # noqa: F401 - the hub would ask for it later, where nobody could tell what is missing
        from botyard_plugins.simulation.testing import Stage
    except ImportError as error:
        missing = error.name or str(error)
        pytest.fail(
            f"the fixtures of botyard run a hub, and {missing} is missing: pip install 'botyard[edge,hub,test]'",
            pytrace=False,
        )
    with Stage(tmp_path_factory.mktemp("botyard"), request.config.getoption("--botyard-seed")) as stage:
        yield stage


@pytest.fixture
def robot(_botyard_stage: "Stage") -> "MakeRobot":
    """Starts a robot with a driver, or with a robot.yaml, and a hub that it talks to, on virtual time."""
    return _botyard_stage.robot


@pytest.fixture
def fleet(_botyard_stage: "Stage") -> "MakeFleet":
    """Starts several robots at once."""
    return _botyard_stage.fleet


@pytest.fixture
def faults(_botyard_stage: "Stage") -> "Faults":
    """Lets something go wrong with robots, from now on for some seconds."""
    return _botyard_stage.faults


@pytest.fixture
def virtual_clock(_botyard_stage: "Stage") -> "StageClock":
    """The clock of robots and hub, which stands still until it is advanced."""
    return _botyard_stage.clock
