"""What is in the wheel. (That it works when installed is tested in tests/system.)"""

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from botyard_schemas import __version__
from botyard_schemas.validation import NAMES

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"botyard", "botyard_edge", "botyard_schemas", "botyard_plugins", "botyard_blueprints"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built)


def test_wheel_holds_our_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops - {f"botyard-{__version__}.dist-info"} == PACKAGES


@pytest.mark.parametrize("root", ["schemas", "hub", "edge", "plugins", "blueprints"])
def test_wheel_holds_every_tracked_file_of_the_packages(wheel: zipfile.ZipFile, root: str) -> None:
    listing = subprocess.run(["git", "ls-files", root], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    tracked = {name.removeprefix(f"{root}/") for name in listing.splitlines() if (ROOT / name).is_file()}
    wanted = {name for name in tracked if name.split("/")[0] in PACKAGES}
    assert wanted
    assert wanted <= set(wheel.namelist())


def test_wheel_holds_what_is_no_python(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert {f"botyard_schemas/v1/{name}.schema.json" for name in NAMES} <= names
    assert {f"{package}/py.typed" for package in PACKAGES - {"botyard_blueprints"}} <= names
    assert {"botyard/core/config.schema.json", "botyard_edge/robot.schema.json"} <= names
    assert any(name.startswith("botyard/store/migrations/") for name in names)


def test_wheel_holds_the_built_dashboard(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert "botyard/static/index.html" in names, "the dashboard is not built: run `make setup`"
    scripts = [name for name in names if name.startswith("botyard/static/assets/") and name.endswith(".js")]
    assert scripts
    assert "botyard/static/swagger/swagger-ui-bundle.js" in names


def test_wheel_holds_no_leftovers(wheel: zipfile.ZipFile) -> None:
    for name in wheel.namelist():
        for wrong in ("node_modules", "__pycache__", ".pyc", "test_", ".ts", ".map", "package.json", ".db"):
            assert wrong not in name, name


def test_wheel_metadata_names_commands_extras_and_license(wheel: zipfile.ZipFile) -> None:
    info = f"botyard-{__version__}.dist-info"
    metadata = Parser().parsestr(wheel.read(f"{info}/METADATA").decode())
    assert set(metadata.get_all("Provides-Extra", [])) == {
        *("hub", "edge", "postgres", "ulog", "dev"),
        *("serial", "i2c", "gpio", "mavlink", "test"),
    }
    assert metadata["License-Expression"] == "Apache-2.0"
    assert f"{info}/licenses/LICENSE" in wheel.namelist()
    scripts = wheel.read(f"{info}/entry_points.txt").decode()
    assert "botyard = botyard.cli.entry:main" in scripts
    assert "botyard-edge = botyard_edge.cli:main" in scripts
    assert "[pytest11]\nbotyard = botyard_plugins.simulation.fixtures" in scripts


def test_wheel_is_small_enough_to_be_fetched_on_a_robot(wheel: zipfile.ZipFile) -> None:
    assert sum(info.compress_size for info in wheel.infolist()) < 8_000_000
