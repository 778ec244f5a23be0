"""The docs: they can be built, load nothing from elsewhere, and their examples work."""

import json
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
import yaml

from botyard.core.config import load_config
from botyard.plugin.manager import build_plugin_manager
from botyard_edge.config import load_config as load_robot
from botyard_plugins.simulation.scenario import load as load_scenario
from botyard_plugins.simulation.world import simulate
from botyard_schemas import decode

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
ENTRY = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]


def _blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def _module(name: str, source: str, monkeypatch: pytest.MonkeyPatch) -> str:
    module = types.ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, name, module)
    return name


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_docs_build_strictly_with_every_page(site: Path) -> None:
    for page in PAGES:
        assert (site / page.relative_to(ROOT / "docs").with_suffix(".html")).is_file()


def test_docs_load_nothing_from_elsewhere(site: Path) -> None:
    loading = re.compile(
        r'<(?:script|img|iframe|source)[^>]+src="(?:https?:)?//|<link[^>]+href="(?:https?:)?//|@import|url\(["\']?https?:'
    )
    for page in site.rglob("*.html"):
        text = re.sub(r'<link[^>]+rel="canonical"[^>]*>', "", page.read_text(encoding="utf-8"))
        assert loading.search(text) is None, page
        assert 'data-md-component="source"' not in text, f"{page}: asks GitHub for the number of stars"


@pytest.mark.parametrize("file", ENTRY, ids=lambda file: file.name)
def test_entry_pages_links_lead_somewhere(file: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", file.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (ROOT / target.partition("#")[0]).exists(), target


def test_docs_robot_yaml_examples_are_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _module("acme_carrier.edge", _blocks("integrators/drivers.md", "python")[0], monkeypatch)
    examples = [
        text
        for page in (
            "operators/get-started.md",
            "robots/edge.md",
            "robots/replay.md",
            "robots/local.md",
            "robots/hardware.md",
            "integrators/drivers.md",
        )
        for text in _blocks(page, "yaml")
    ]
    examples += [
        f"robot: picker-7\ndrivers: {{base: {{type: sim}}}}\n{text}" for text in _blocks("robots/safety.md", "yaml")
    ]
    assert len(examples) >= 14
    for text in examples:
        file = tmp_path / "robot.yaml"
        file.write_text(text if "robot:" in text else f"robot: picker-7\n{text}", encoding="utf-8")
        assert load_robot(file, {}).drivers


def test_docs_config_yaml_examples_are_valid(tmp_path: Path) -> None:
    for page in (
        "operators/configuration.md",
        "operators/store.md",
        "reference/configuration.md",
        "integrators/hub-plugins.md",
    ):
        for text in _blocks(page, "yaml"):
            file = tmp_path / "config.yaml"
            file.write_text(text, encoding="utf-8")
            assert yaml.safe_load(text).keys() <= set(load_config(file, environ={}).__struct_fields__)


def test_docs_scenario_examples_do_what_they_are_shown_for(tmp_path: Path) -> None:
    reports = []
    for number, text in enumerate(_blocks("integrators/simulator.md", "yaml")):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text, encoding="utf-8")
        reports.append(simulate(load_scenario(file, robots=4), 7, tmp_path / str(number)).report)
    assert [bad for report in reports for bad in report.invariants if not bad.holds] == []
    faulty, commanded = reports
    assert set(faulty.faults) == {"link_loss", "latency", "reboot", "sensor_nan"}
    assert commanded.commands["succeeded"] > 20
    assert "rejected" not in commanded.commands


def test_example_settings_are_valid() -> None:
    load_config(ROOT / "config.example.yaml", environ={})
    load_robot(ROOT / "edge/robot.example.yaml", {})


def test_docs_hub_plugin_example_can_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    name = _module("acme_botyard.hub", _blocks("integrators/hub-plugins.md", "python")[0], monkeypatch)
    manager = build_plugin_manager([name])
    assert [hook.plugin_name for hook in manager.hook.botyard_auth.get_hookimpls()][-1] == name


def test_docs_message_examples_keep_the_contract() -> None:
    http, mqtt = _blocks("robots/without-edge.md", "sh")
    posted = json.loads(re.search(r"-d '(.*?)'", http, re.DOTALL).group(1))  # type: ignore[union-attr]
    decode(json.dumps({**posted, "type": "telemetry", "ts": 1, "epoch": "e", "seq": 1}).encode())
    published = re.search(r"-m '(.*)'$", mqtt.strip(), re.DOTALL).group(1)  # type: ignore[union-attr]
    decode(published.replace("'$(date +%s%6N)'", "1763712000123456").encode())
