"""A short campaign of kills and bad network; `make chaos` runs a long one."""

from pathlib import Path

import pytest

from tests.chaos.campaign import Campaign

SEED, KILLS = 7, 10


@pytest.mark.timeout(300)
def test_robots_hub_and_broker_killed_at_random_nothing_is_missing_and_nothing_twice(tmp_path: Path) -> None:
    said: list[str] = []
    campaign = Campaign(SEED, tmp_path, said.append)
    with campaign.prepared():
        campaign.run(KILLS)
        campaign.settle()
        found = campaign.check()
    assert len(said) == KILLS
    assert min(found.values()) > 0
