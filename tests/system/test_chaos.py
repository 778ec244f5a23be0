"""Short campaigns of kills, bad network, jumping clocks and full disks; `make chaos` runs long ones."""

from pathlib import Path

import pytest

from tests.chaos.campaign import Campaign
from tests.chaos.plan import Setting, make_plan
from tests.chaos.world import World

SEED, KILLS = 7, 6
SETTINGS = [
    pytest.param(Setting(store="sqlite"), id="sqlite"),
    pytest.param(Setting(store="postgres"), id="postgres"),
    pytest.param(
        Setting(store="sqlite", broker="mosquitto", wires=("robots", "hub")),
        id="sqlite-mosquitto",
        marks=pytest.mark.mosquitto,
    ),
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("setting", SETTINGS)
def test_campaign_of_random_faults_nothing_is_missing_and_nothing_twice(setting: Setting, tmp_path: Path) -> None:
    said: list[str] = []
    with World(setting, tmp_path, SEED) as world:
        campaign = Campaign(world, make_plan(SEED, KILLS, setting, calm=0.0), said.append)
        campaign.run()
        campaign.settle()
        campaign.check()
    result = campaign.result
    assert result.problems == [], "\n".join(said)
    assert result.kills + result.in_vain >= KILLS
    assert all(verdict.counts["samples"] > 0 for verdict in result.verdicts.values())
