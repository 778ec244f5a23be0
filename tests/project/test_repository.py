"""The repository itself: nothing of one machine in it, and everything that is imported is declared and pinned."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]

# Parts of paths of one machine and names of registries, written so that this file does not find itself.
FOREIGN = re.compile(r"/(work|root|home|opt/pypi)[/]|pypi[.]org|pythonhosted[.]|registry[.]npmjs")


def _tracked() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file()]


def _names(requirements: list[str]) -> set[str]:
    """Distributions that requirements ask for; extras of our own are followed."""
    names = set()
    for requirement in map(Requirement, requirements):
        if requirement.name == PROJECT["name"]:
            names |= {name for extra in requirement.extras for name in _names(EXTRAS[extra])}
        else:
            names.add(canonicalize_name(requirement.name))
    return names


def _imports(folder: Path) -> Iterator[tuple[Path, str]]:
    for file in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((file, alias.name.split(".")[0]) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                yield file, node.module.split(".")[0]


def test_repository_tracked_files_hold_nothing_of_one_machine_or_registry() -> None:
    found = []
    for file in _tracked():
        text = file.read_bytes().decode("utf-8", "ignore")
        found += [f"{file.relative_to(ROOT)}: {match.group()}" for match in FOREIGN.finditer(text)]
    assert found == []


def test_repository_text_files_end_with_one_line_break_and_hold_no_carriage_return() -> None:
    wrong = []
    for file in _tracked():
        data = file.read_bytes()
        if b"\0" in data or not data or file.name == "package-lock.json":
            continue
        if b"\r" in data or not data.endswith(b"\n") or data.endswith(b"\n\n"):
            wrong.append(str(file.relative_to(ROOT)))
    assert wrong == []


def test_repository_scripts_can_be_executed() -> None:
    scripts = [file for file in _tracked() if file.read_bytes().startswith(b"#!")]
    assert scripts
    assert [str(file) for file in scripts if not os.access(file, os.X_OK)] == []


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("schemas/botyard_schemas", []),
        ("edge/botyard_edge", ["edge"]),
        ("hub/botyard", ["hub", "postgres"]),
        ("plugins/botyard_plugins", ["hub", "edge", "ulog", "serial", "i2c", "gpio", "mavlink", "test"]),
        ("tests", ["dev"]),
        ("benchmarks", ["dev"]),
        ("tools", ["dev"]),
    ],
)
def test_repository_every_import_is_declared_by_the_extra_that_needs_it(folder: str, extras: list[str]) -> None:
    allowed = _names(PROJECT["dependencies"]) | {name for extra in extras for name in _names(EXTRAS[extra])}
    ours = {"botyard", "botyard_edge", "botyard_schemas", "botyard_plugins", "botyard_blueprints", "tests", "tools"}
    distributions = packages_distributions()
    missing = set()
    for file, module in _imports(ROOT / folder):
        if module in sys.stdlib_module_names or module in ours | {"benchmarks", "__future__"}:
            continue
        owners = {canonicalize_name(owner) for owner in distributions.get(module, [module])}
        if not owners & allowed:
            missing.add(f"{file.relative_to(ROOT)}: {module}")
    assert missing == set()


def test_constraints_pin_every_requirement_to_a_version_that_it_allows() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {}
    for line in lines:
        assert re.fullmatch(r"[a-z0-9][a-z0-9._-]*==[A-Za-z0-9.+!-]+", line), f"not a plain pin: {line!r}"
        name, version = line.split("==")
        pins[canonicalize_name(name)] = version
    assert list(pins) == sorted(pins)
    assert len(pins) == len(lines)
    for requirement in map(Requirement, [*PROJECT["dependencies"], *(r for extra in EXTRAS.values() for r in extra)]):
        if requirement.name != PROJECT["name"]:
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_constraints_are_what_is_installed_here() -> None:
    """Else the tests prove something about other versions than those that users get."""
    from importlib.metadata import version

    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines())
    wanted = _names([*PROJECT["dependencies"], *EXTRAS["hub"], *EXTRAS["edge"], *EXTRAS["ulog"]])
    assert {name: version(name) for name in wanted} == {name: pins[name] for name in wanted}


def test_dashboard_engines_are_what_the_node_script_looks_for() -> None:
    package = json.loads((ROOT / "hub/dashboard/package.json").read_text(encoding="utf-8"))
    assert package["engines"]["node"] in (ROOT / ".ci/node").read_text(encoding="utf-8")


def test_makefile_help_names_every_phony_target() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = next(line for line in text.splitlines() if line.startswith(".PHONY:")).split()[1:]
    shown = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert sorted(re.findall(r"make (\w+)", shown)) == sorted(phony)


def test_license_is_complete() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
