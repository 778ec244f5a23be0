"""`python -m tools.gen` renews every generated file, `python -m tools.gen --check` only compares."""

import difflib
import sys
from collections.abc import Callable
from pathlib import Path

from tools.gen import calibration, code, commands, database, presence, settings, typescript, wire
from tools.gen.markdown import between_markers

ROOT = Path(__file__).resolve().parents[2]

# Each takes the repository's root and returns what the file should hold.
WHOLE: dict[str, Callable[[Path], str]] = {
    "hub/dashboard/src/api/wire.gen.ts": typescript.wire,
    "hub/dashboard/src/api/models.gen.ts": typescript.models,
    "hub/botyard/store/new.sql": database.new_sqlite,
}
# The same for the part of a page between its two markers; the rest of the page is written by hand.
PARTS: dict[str, Callable[[Path], str]] = {
    "docs/reference/wire.md": wire.page,
    "docs/reference/configuration.md": settings.hub_page,
    "docs/reference/robot-yaml.md": settings.robot_page,
    "docs/reference/drivers.md": settings.drivers_page,
    "docs/integrators/simulator.md": settings.scenario_page,
    "docs/reference/cli.md": code.commands_page,
    "docs/reference/hooks.md": code.hooks_page,
    "docs/operators/commands.md": commands.page,
    "docs/operators/robots.md": presence.page,
    "docs/robots/calibration.md": calibration.page,
}


def render(root: Path) -> dict[Path, str]:
    """Every generated file with the text that it should have."""
    files = {root / name: make(root) for name, make in WHOLE.items()}
    for name, make in PARTS.items():
        page = root / name
        files[page] = between_markers(page.read_text(encoding="utf-8"), make(root), name)
    return files


def main(arguments: list[str]) -> int:
    """Renew or compare; the exit status is 1 when something was stale and `--check` was given."""
    stale = {path: text for path, text in render(ROOT).items() if _current(path) != text}
    for path, text in stale.items():
        name = str(path.relative_to(ROOT))
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"✓ {name} renewed")
            continue
        print(f"{name} is stale: run `make gen`")
        changes = difflib.unified_diff(
            _current(path).splitlines(), text.splitlines(), name, "generated", lineterm="", n=1
        )
        print("\n".join(list(changes)[:40]))
    return 1 if stale and "--check" in arguments else 0


def _current(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
