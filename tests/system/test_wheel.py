"""The wheel, installed into an empty environment outside the repository, as a user gets it."""

import os
import signal
import subprocess
import sys
import venv
from pathlib import Path

import httpx
import pytest

from tests.processes import Running, free_port, wait_until

ROOT = Path(__file__).parents[2]

# Building, downloading and installing takes its time.
pytestmark = pytest.mark.timeout(600)


def run(*command: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, timeout=500, cwd=cwd, env=env
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_wheel_in_an_empty_environment_runs_the_demo(tmp_path: Path) -> None:
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    environment = tmp_path / "empty"
    venv.create(environment)
    python = environment / "bin" / "python"
    # Our own pip, told to install over there: to install pip there first, and to compile what is never imported, would
    # take longer than all the rest.
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-compile"]
    run(*pip, "-c", ROOT / "constraints.txt", f"{wheel}[hub,edge]")

    outside = tmp_path / "elsewhere"
    outside.mkdir()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "BOTYARD"))}
    assert str(ROOT) not in run(python, "-c", "import botyard; print(botyard.__file__)", cwd=outside, env=clean)
    port = free_port()
    ports = {"BOTYARD__WEB__PORT": str(port), "BOTYARD__BROKER__PORT": str(free_port()), "PYTHONPATH": ""}
    demo = Running([str(environment / "bin" / "botyard"), "demo", "--no-browser"], outside, "demo", ports)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            wait_until(lambda: client.get("/readyz").status_code == 200, "the demo is ready")
            wait_until(lambda: len(client.get("/api/v1/robots").json()["items"]) == 5, "five robots")
            assert "<title>Botyard" in client.get("/").text
            assert client.get("/swagger/swagger-ui-bundle.js").status_code == 200
    finally:
        code = demo.stop(signal.SIGINT)
    assert code == 0, demo.output()
    assert "Traceback" not in demo.output()
