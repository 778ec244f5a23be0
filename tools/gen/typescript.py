"""The dashboard's TypeScript types, through JSON Schema documents that the dashboard's own script turns into types."""

import inspect
import json
import subprocess
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from botyard_schemas.validation import NAMES, schema
from tools.gen.jsonschema_words import Schema

# What TypeScript cannot say, or says in a way that only annoys (a list of at least one item as a tuple type).
UNSAID = {"if", "then", "else", "allOf", "minItems", "maxItems"}


def wire(root: Path) -> str:
    """Types of the messages on the wire, from the schema files."""
    return compiled(root, wire_document(), "wire.gen.ts")


def models(root: Path) -> str:
    """Types of what the API says and takes, from its classes."""
    from botyard.web import frames, models

    return compiled(root, models_document(models, frames), "models.gen.ts")


def compiled(root: Path, document: Schema, name: str) -> str:
    """The document as TypeScript. Raises RuntimeError with the script's words when that fails."""
    dashboard = root / "hub/dashboard"
    # Below the dashboard, so that the script finds the same formatting rules as for the real file.
    target = dashboard / "node_modules" / ".gen" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [str(root / ".ci/node"), "node", str(dashboard / "scripts/types.mjs"), "-", str(target)]
    done = subprocess.run(command, input=json.dumps(document), text=True, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"scripts/types.mjs failed for {name}: {done.stderr.strip() or done.stdout.strip()}")
    return target.read_text(encoding="utf-8")


def wire_document() -> Schema:
    """One document with a definition per message and per definition inside one."""
    definitions: Schema = {}
    for name in NAMES:
        message = schema(name)
        for key, part in message.get("$defs", {}).items():
            definitions[_class_name(key)] = _plain(part)
        definitions[_class_name(name)] = _plain(
            {key: part for key, part in message.items() if key not in ("$defs", "$id")}
        )
    # Objects that several messages hold (a pose, say) are written out in each file, and are one type here.
    return {"$defs": {name: _shared(part, definitions, top=True) for name, part in definitions.items()}}


def models_document(*modules: types.ModuleType) -> Schema:
    """One document with a definition per class of the modules, and per named union or list of words."""
    names = {name: value for module in modules for name, value in vars(module).items()}
    classes = [value for value in names.values() if inspect.isclass(value) and issubclass(value, msgspec.Struct)]
    _, definitions = msgspec.json.schema_components(classes, ref_template="#/$defs/{name}")
    for name, part in definitions.items():
        cls = next((cls for cls in classes if cls.__name__ == name), None)
        if cls is not None and _always_whole(cls):
            part["required"] = list(part.get("properties", {}))
    return {"$defs": {**definitions, **dict(_aliases(names))}}


def _always_whole(cls: type[msgspec.Struct]) -> bool:
    """Whether every field is there when the hub says it: a field with a default may be left out of requests only."""
    config = cls.__struct_config__
    return not config.omit_defaults and not config.forbid_unknown_fields


def _aliases(names: dict[str, Any]) -> Iterator[tuple[str, Schema]]:
    for name, value in names.items():
        if typing.get_origin(value) is typing.Literal:
            yield name, {"enum": list(typing.get_args(value))}
        elif isinstance(value, types.UnionType):
            yield name, {"anyOf": [{"$ref": f"#/$defs/{member.__name__}"} for member in typing.get_args(value)]}


def _class_name(key: str) -> str:
    return key[0].upper() + key[1:]


def _plain(node: Any) -> Any:
    """Without what TypeScript cannot say, and with references to the lifted definitions."""
    if isinstance(node, list):
        return [_plain(part) for part in node]
    if not isinstance(node, dict):
        return node
    if isinstance(node.get("$ref"), str):
        return {"$ref": "#/$defs/" + _class_name(node["$ref"].rsplit("/", 1)[-1])}
    plain = {key: _plain(value) for key, value in node.items() if key not in (*UNSAID, "properties", "examples")}
    if "properties" in node:  # names of fields, which may be spelt like keywords
        plain["properties"] = {name: _plain(part) for name, part in node["properties"].items()}
    return plain


def _shared(node: Any, definitions: Schema, *, top: bool = False) -> Any:
    if isinstance(node, list):
        return [_shared(part, definitions) for part in node]
    if not isinstance(node, dict):
        return node
    if not top and "properties" in node:
        for name, part in definitions.items():
            if part.get("properties") == node["properties"] and part.get("required") == node.get("required"):
                return {"$ref": f"#/$defs/{name}"}
    return {key: _shared(value, definitions) for key, value in node.items()}
