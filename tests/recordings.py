"""Where the recordings of real systems are."""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("BOTYARD_SHARED") or Path(__file__).parents[2] / "shared")


def recording(name: str) -> Path:
    """The file `data/<name>` of the shared folder. Skips the test when it is missing, but fails it with CI set."""
    path = SHARED / "data" / name
    if not path.is_file():
        sentence = (
            f"the recording {name} is not in {SHARED / 'data'}; set BOTYARD_SHARED to the folder that holds data/"
        )
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    return path
