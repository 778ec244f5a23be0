"""Settings from a YAML file and the environment, checked against a JSON Schema.

Both the hub's `config.yaml` and a robot's `robot.yaml` are read here, so that mistakes in either are reported alike:
file and line, key, value, and what was expected. All mistakes are reported at once.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema_rs
import yaml

from botyard_schemas.validation import describe, field_path

Keys = tuple[str | int, ...]


class SettingsError(ValueError):
    """The settings cannot be used. `problems` holds one sentence each; the text is all of them, a line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load(
    path: Path | None,
    schema: Mapping[str, Any],
    *,
    environ: Mapping[str, str] | None = None,
    prefix: str = "BOTYARD",
) -> dict[str, Any]:
    """Read `path` (None: no file), lay `PREFIX__SECTION__KEY` variables over it and fill in the schema's defaults.

    Raises SettingsError. Values from the environment are read as YAML, unless the schema wants a string.
    """
    where = _Origins(path)
    settings = _read(path, where) if path is not None else {}
    _open_empty_sections(settings, schema)
    problems = _lay_environment_over(settings, schema, os.environ if environ is None else environ, prefix + "__", where)
    for error in check(settings, schema):
        problems += _sentences(error, schema, where)
    if problems:
        raise SettingsError(problems)
    fill_defaults(settings, schema)
    return settings


def check(instance: Any, schema: Mapping[str, Any]) -> Iterator[jsonschema_rs.ValidationError]:
    """All the ways in which an instance breaks a schema."""
    return iter(jsonschema_rs.Draft202012Validator(dict(schema)).iter_errors(instance))


def fill_defaults(settings: dict[str, Any], schema: Mapping[str, Any]) -> None:
    """Put each property's `default` where the settings say nothing, section by section."""
    for key, part in schema.get("properties", {}).items():
        if key not in settings:
            if "default" in part:
                settings[key] = _copy(part["default"])
            elif part.get("type") == "object" and "properties" in part and key not in schema.get("required", ()):
                settings[key] = {}
            else:
                continue
        if isinstance(settings[key], dict):
            fill_defaults(settings[key], part)


def locate(path: Path, keys: Keys) -> str:
    """`file:line` of a key (or of the nearest section above it) for errors that are found after loading."""
    where = _Origins(path)
    _read(path, where)
    return where.of(keys)


class _Origins:
    """Where each value came from: a line of the file or a variable of the environment."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.lines: dict[Keys, int] = {}
        self.variables: dict[Keys, str] = {}

    def of(self, keys: Keys) -> str:
        for length in range(len(keys), -1, -1):
            if variable := self.variables.get(keys[:length]):
                return f"environment variable {variable}"
            if line := self.lines.get(keys[:length]):
                return f"{self.path}:{line}"
        return f"{self.path}:1" if self.path else "settings"


class _Loader(yaml.SafeLoader):
    """YAML without its surprises: a date stays the text that was written."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _read(path: Path, where: _Origins) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        detail = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError([f"{path}: cannot be read: {detail}"]) from error
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None or node.tag == "tag:yaml.org,2002:null":
            return {}
        _note_lines(node, (), where)
        if not isinstance(node, yaml.MappingNode):
            raise SettingsError([f"{path}:1: expected sections and keys (`web:` …), this is {_kind(node)}"])
        loaded: dict[str, Any] = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise SettingsError([f"{path}:{line}: not YAML: {error.problem or error.context}"]) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise SettingsError([f"{path}: not YAML: {str(error).splitlines()[0]}"]) from error
    finally:
        if loader:
            loader.dispose()
    return loaded


def _note_lines(node: yaml.Node, keys: Keys, where: _Origins) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise SettingsError([f"{where.path}:{line}: a key is a word, this is {_kind(key)}"])
            if key.tag == "tag:yaml.org,2002:merge":
                _note_lines(value, keys, where)
                continue
            if key.tag != "tag:yaml.org,2002:str":
                key.tag = "tag:yaml.org,2002:str"  # `on:` and `1:` are names here, not a boolean and a number
            if (*keys, key.value) in where.lines:
                first = where.lines[(*keys, key.value)]
                raise SettingsError([f"{where.path}:{line}: {key.value}: stands twice, first in line {first}"])
            where.lines[(*keys, key.value)] = line
            _note_lines(value, (*keys, key.value), where)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            where.lines[(*keys, index)] = value.start_mark.line + 1
            _note_lines(value, (*keys, index), where)


def _open_empty_sections(settings: dict[str, Any], schema: Mapping[str, Any]) -> None:
    """A section whose keys are all commented out reads as null, and means that nothing is said."""
    for key, part in schema.get("properties", {}).items():
        if part.get("type") != "object":
            continue
        if key in settings and settings[key] is None:
            settings[key] = {}
        if isinstance(settings.get(key), dict):
            _open_empty_sections(settings[key], part)


def _lay_environment_over(
    settings: dict[str, Any], schema: Mapping[str, Any], environ: Mapping[str, str], prefix: str, where: _Origins
) -> list[str]:
    problems = []
    for variable in sorted(name for name in environ if name.startswith(prefix)):
        keys = tuple(part.lower() for part in variable[len(prefix) :].split("__"))
        part: Mapping[str, Any] = schema
        section: Any = settings
        for depth, key in enumerate(keys):
            known = part.get("properties", {})
            if key not in known:
                problems.append(f"environment variable {variable}: {_unknown('.'.join(keys[: depth + 1]), key, known)}")
                break
            part = known[key]
            if depth < len(keys) - 1:
                section = section.setdefault(key, {})
                if not isinstance(section, dict):
                    break  # the file's own mistake, reported by the schema
        else:
            try:
                section[keys[-1]] = _from_text(environ[variable], part)
                where.variables[keys] = variable
            except yaml.YAMLError:
                problems.append(f"environment variable {variable}: {environ[variable]!r} is not YAML")
    return problems


def _from_text(text: str, part: Mapping[str, Any]) -> Any:
    kinds = part.get("type")
    if kinds == "string" or (isinstance(kinds, list) and "string" in kinds and text not in ("", "null")):
        return text
    return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader


def _sentences(error: jsonschema_rs.ValidationError, schema: Mapping[str, Any], where: _Origins) -> list[str]:
    keys = tuple(error.instance_path)
    unexpected: list[str] | None = getattr(error.kind, "unexpected", None)
    if not unexpected:
        return [f"{where.of(keys)}: {describe(error)}"]
    known: Mapping[str, Any] = schema
    for key in keys:
        known = known.get("properties", {}).get(key, known.get("items", {}))
    return [
        f"{where.of((*keys, key))}: {_unknown(field_path([*keys, key]), key, known.get('properties', {}))}"
        for key in unexpected
    ]


def _unknown(name: str, key: str, known: Mapping[str, Any]) -> str:
    import difflib  # only those who make a mistake need it

    close = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known))}"
    return f"{name}: unknown key, {hint}" if known else f"{name}: unknown key"


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(part) for key, part in value.items()}
    return list(value) if isinstance(value, list) else value


def _kind(node: yaml.Node) -> str:
    names: dict[type[yaml.Node], str] = {yaml.SequenceNode: "a list", yaml.MappingNode: "a section"}
    return names.get(type(node), "a single value")
