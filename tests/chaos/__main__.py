"""A campaign by hand: `python -m tests.chaos [--seed N] [--kills N]`, or `make chaos`. It prints its seed."""

import argparse
import random
import tempfile
import time
from pathlib import Path

from tests.chaos.campaign import Campaign


def main() -> None:
    """Run one campaign and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--kills", type=int, default=200)
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.kills} kills", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(options.seed, Path(folder), lambda line: print(line, flush=True))
        with campaign.prepared():
            campaign.run(options.kills)
            campaign.settle()
            found = campaign.check()
    took = time.monotonic() - started
    print(f"✓ nothing missing, nothing twice: {found} after {options.kills} kills in {took:.0f} s, seed {options.seed}")


if __name__ == "__main__":
    main()
