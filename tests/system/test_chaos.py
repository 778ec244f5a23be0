"""Short campaigns of kills, bad network, jumping clocks and full disks; `make chaos` runs long ones."""

from pathlib import Path

import pytest

from tests.chaos.campaign import Campaign
from tests.chaos.plan import Setting, make_plan
from tests.chaos.world import World

KILLS = 5
ROBOTS = ("beta", "gamma")  # one writes each message, the other in groups

# Seeds whose few faults are of many kinds, and not the same ones.
CAMPAIGNS = [
    pytest.param(11, Setting(ROBOTS, store="sqlite"), id="sqlite"),
    pytest.param(10, Setting(ROBOTS, store="sqlite", wires=("websocket",)), id="sqlite-websocket"),
    pytest.param(9, Setting(ROBOTS, store="postgres", wires=("robots", "websocket")), id="postgres-both"),
    pytest.param(
        7,
        Setting(ROBOTS, store="sqlite", broker="mosquitto", wires=("robots", "hub")),
        id="sqlite-mosquitto",
        marks=pytest.mark.mosquitto,
    ),
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("seed", "setting"), CAMPAIGNS)
def test_campaign_of_random_faults_nothing_is_missing_and_nothing_twice(
    seed: int, setting: Setting, tmp_path: Path
) -> None:
    said: list[str] = []
    with World(setting, tmp_path, seed) as world:
        campaign = Campaign(world, make_plan(seed, KILLS, setting, calm=0.0), said.append)
        campaign.run()
        campaign.settle()
        campaign.check()
    result = campaign.result
    assert result.problems == [], "\n".join(said)
    assert result.kills + result.in_vain >= KILLS
    assert all(verdict.counts["samples"] > 0 for verdict in result.verdicts.values())
