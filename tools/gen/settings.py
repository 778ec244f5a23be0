"""The tables of the settings pages, from the JSON Schemas that check the files."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tools.gen.jsonschema_words import Schema, limits, type_words
from tools.gen.markdown import code, table


def hub_page(root: Path) -> str:
    """The keys of config.yaml."""
    return page(root / "hub/botyard/core/config.schema.json", "BOTYARD")


def robot_page(root: Path) -> str:
    """The keys of robot.yaml."""
    return page(root / "edge/botyard_edge/robot.schema.json", "BOTYARD_EDGE")


def scenario_page(root: Path) -> str:
    """The keys of a scenario, and of one of its faults."""
    path = root / "plugins/botyard_plugins/simulation/scenario.schema.json"
    fault: Schema = json.loads(path.read_text(encoding="utf-8"))["properties"]["faults"]["items"]
    return "\n\n".join([page(path, None), "## `faults[]` { #fault }", fault["description"], _options(fault)])


def drivers_page(_root: Path) -> str:
    """The options of every built-in driver."""
    from botyard_edge.plugins import build_plugin_manager, drivers

    parts = []
    for name, spec in sorted(drivers(build_plugin_manager()).items()):
        parts += [f"## `{name}` {{ #{name} }}", spec.description, _options(spec.options)]
    return "\n\n".join(parts)


def _options(schema: Mapping[str, Any]) -> str:
    rows = [_row(key, part, dict(schema)) for key, part in schema.get("properties", {}).items()]
    return table(("Option", "Meaning", "Type", "Default", "Example"), rows)


def page(path: Path, prefix: str | None) -> str:
    """A table per section; `prefix` is that of the environment variables. Raises OSError without the file."""
    schema: Schema = json.loads(path.read_text(encoding="utf-8"))
    return "\n\n".join(_section(schema, (), prefix))


def _section(section: Schema, path: tuple[str, ...], prefix: str | None) -> Iterator[str]:
    leaves: dict[str, Schema] = {}
    sections: dict[str, Schema] = {}
    for key, part in section["properties"].items():
        (sections if "properties" in part else leaves)[key] = part
        each = part.get("additionalProperties")
        if isinstance(each, dict) and "properties" in each:
            sections[f"{key}.<name>"] = each
    if path:
        yield f"## `{'.'.join(path)}` {{ #{'-'.join(path).replace('.<name>', '')} }}"
        yield section["description"]
    else:
        yield "## At the top level { #top }"
    if leaves:
        if prefix and "<" not in "".join(path):
            yield f"In the environment: `{'__'.join((prefix, *path, next(iter(leaves)))).upper()}` and so on."
        yield table(("Key", "Meaning", "Type", "Default", "Example"), (_row(*leaf, section) for leaf in leaves.items()))
    for key, part in sections.items():
        yield from _section(part, (*path, key), prefix)


def _row(key: str, part: Schema, section: Schema) -> tuple[str, ...]:
    default = code(part["default"]) if part.get("default") is not None else ""
    if key in section.get("required", ()):
        default = "required"
    meaning = " ".join(filter(None, (part["description"], limits(part))))
    return (f"`{key}`", meaning, type_words(part), default, code(part["examples"][0]))
