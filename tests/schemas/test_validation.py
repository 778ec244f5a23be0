"""The schema files themselves, and that the compiled validators say the same as the reference implementation."""

import copy
import json
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import jsonschema
import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botyard_schemas.validation import NAMES, field_path, first_error, schema, validator
from tests.strategies import TEXT, bodies, messages

Path = tuple[str | int, ...]


def _ecma_pattern(_: object, pattern: str, instance: object, __: object) -> Iterator[jsonschema.ValidationError]:
    """The reference implementation matches as Python does, where `$` also stands before a last line break."""
    assert pattern.endswith("$")
    if isinstance(instance, str) and not re.search(pattern[:-1] + r"\Z", instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


Reference: type[Any] = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator, {"pattern": _ecma_pattern}
)

HOSTILE: list[Any] = [
    *(None, True, False, 0, 1, -1, 1.0, 0.5, -0.0, 1e300, -1e300, 2**53, -(2**53), 2**53 - 1, 2**64, 10**400, 5e-324),
    *("", "x", "x\n", "\n", "a b", "a/b", "ä", "\0", "1", "true", "null", "x" * 64, "x" * 65, "x" * 5000, "😀" * 40),
    *([], [None], [[]], [1, "1"], [0] * 70000, {}, {"": None}, {"type": "pose"}, {"x": {"y": {}}}),
    *("telemetry", "online", "auto", "number", "geo", "error"),
]


def _agree(name: str, instance: Any) -> None:
    compiled = validator(name).is_valid(instance)
    reference = Reference(schema(name)).is_valid(instance)
    assert compiled == reference, f"{name}: compiled says {compiled}, reference says {reference}: {instance!r:.500}"


def _paths(value: Any, at: Path = ()) -> Iterator[Path]:
    yield at
    parts: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from _paths(part, (*at, key))


def _with(value: Any, at: Path, new: Any) -> Any:
    if not at:
        return new
    changed = copy.copy(value)
    changed[at[0]] = _with(value[at[0]], at[1:], new)
    return changed


def _without(value: Any, at: Path) -> Any:
    changed = copy.copy(value)
    if len(at) == 1:
        del changed[at[0]]
    else:
        changed[at[0]] = _without(value[at[0]], at[1:])
    return changed


def _parts(node: Any, at: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every described part of a schema: fields, definitions and what maps hold, with a readable address."""
    if isinstance(node, dict):
        for group in ("properties", "$defs"):
            for key, part in node.get(group, {}).items():
                yield f"{at}/{key}", part
                yield from _parts(part, f"{at}/{key}")
        if isinstance(node.get("additionalProperties"), dict):
            yield f"{at}/*", node["additionalProperties"]
            yield from _parts(node["additionalProperties"], f"{at}/*")


FIELDS = [(name, at, part) for name in NAMES for at, part in [("", schema(name)), *_parts(schema(name))]]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_validators_on_instances_made_from_the_schema_agree(name: str, data: st.DataObject) -> None:
    instance = data.draw(messages("telemetry") if name == "envelope" else bodies(name))
    assert validator(name).is_valid(instance)
    _agree(name, instance)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_validators_on_mutated_examples_agree(name: str, data: st.DataObject) -> None:
    instance = data.draw(st.sampled_from(schema(name)["examples"]))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.sampled_from(list(_paths(instance))))
        remove = bool(at) and data.draw(st.booleans(), label="remove")
        new = None if remove else data.draw(st.sampled_from(HOSTILE) | TEXT)
        instance = _without(instance, at) if remove else _with(instance, at, new)
    _agree(name, instance)


@pytest.mark.parametrize("name", NAMES)
def test_validators_on_every_hostile_value_in_every_place_agree(name: str) -> None:
    for example in schema(name)["examples"]:
        for at in _paths(example):
            for value in HOSTILE:
                _agree(name, _with(example, at, value))
            if at:
                _agree(name, _without(example, at))


@pytest.mark.parametrize("kind", ["number", "integer", "boolean", "text", "object", "pose", "geo", None, "else"])
def test_validators_on_every_hostile_sample_of_every_value_type_agree(kind: str | None) -> None:
    samples = [
        *HOSTILE,
        schema("telemetry")["$defs"]["pose"]["examples"][0],
        schema("telemetry")["$defs"]["geo"]["examples"][0],
    ]
    for sample in samples:
        channel = {"name": "a", "values": [sample, None]} | ({"type": kind} if kind else {})
        _agree("telemetry", {"groups": [{"dt": [0, 1], "channels": [channel]}]})


@pytest.mark.parametrize("name", NAMES)
def test_schema_is_a_valid_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(name))
    assert schema(name)["$id"] == f"urn:botyard:schema:v1:{name}"


def test_schemas_on_disk_are_those_that_are_known() -> None:
    names = {file.name.removesuffix(".schema.json") for file in files("botyard_schemas").joinpath("v1").iterdir()}
    assert names == set(NAMES)


@pytest.mark.parametrize(("name", "at", "part"), FIELDS, ids=[f"{name}{at}" for name, at, _ in FIELDS])
def test_schemas_every_field_has_title_description_unit_and_example(name: str, at: str, part: dict[str, Any]) -> None:
    if "$ref" in part:
        return
    assert part["title"].strip()
    assert part["description"].endswith(".")
    assert part["examples"]
    inner = part.get("items", {})
    if part.get("type") in ("number", "integer") or inner.get("type") in ("number", "integer"):
        assert part["unit"], "numbers have a UCUM unit, `1` when they have no dimension"


@pytest.mark.parametrize(("name", "at", "part"), FIELDS, ids=[f"{name}{at}" for name, at, _ in FIELDS])
def test_schemas_every_example_is_valid(name: str, at: str, part: dict[str, Any]) -> None:
    whole = {**part, "$defs": schema(name).get("$defs", {})}
    for example in part.get("examples", ()):
        Reference(whole).validate(example)
    if name == "envelope" and not at:
        for example in part["examples"]:
            Reference(schema(example["type"])).validate(example["body"])


def test_schemas_integers_are_bounded_so_that_every_json_reader_keeps_them_exactly() -> None:
    for name, at, part in FIELDS:
        if part.get("type") == "integer" and "const" not in part:
            assert abs(part["minimum"]) < 2**53, f"{name}{at}"
            assert part["maximum"] < 2**53, f"{name}{at}"


@pytest.mark.parametrize(
    ("name", "instance", "sentence"),
    [
        ("ack", {"epoch": "e", "seq": -1}, "seq: -1 is less than the minimum of 0"),
        ("ack", {"epoch": "e"}, '"seq" is a required property'),
        ("event", {"name": "a b", "severity": "info"}, 'name: "a b" does not match'),
        (
            "state",
            {"mode": "auto", "health": "ok", "battery": {"level": 2}},
            "battery.level: 2 is greater than the maximum of 1",
        ),
    ],
)
def test_first_error_names_field_value_and_expectation(name: str, instance: Any, sentence: str) -> None:
    assert (first_error(validator(name), instance) or "").startswith(sentence)


def test_first_error_inside_alternatives_names_the_field_that_is_wrong() -> None:
    pose = {"frame": "hall", "x": "1", "y": 0, "yaw": 0}
    channel = {"name": "pose", "type": "pose", "values": [pose]}
    sentence = first_error(validator("telemetry"), {"groups": [{"dt": [0], "channels": [channel]}]})
    assert sentence == 'groups[0].channels[0].values[0].x: "1" is not of type "number"'


def test_first_error_on_a_valid_instance_is_none() -> None:
    assert first_error(validator("ack"), {"epoch": "e", "seq": 0}) is None


def test_first_error_on_a_huge_value_stays_short() -> None:
    sentence = first_error(validator("event"), {"name": "x" * 100_000, "severity": "info"})
    assert sentence is not None
    assert len(sentence) < 400


def test_field_path_of_nested_keys_is_written_as_people_do() -> None:
    assert field_path(["groups", 0, "dt", 3]) == "groups[0].dt[3]"
    assert field_path([]) == ""


def test_schema_of_an_unknown_name_raises_key_error() -> None:
    with pytest.raises(KeyError):
        schema("../config")


@pytest.mark.parametrize("name", NAMES)
def test_schema_files_are_formatted_as_json_dumps_does(name: str) -> None:
    text = files("botyard_schemas").joinpath("v1", f"{name}.schema.json").read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"


def test_value_that_fits_no_alternative_is_told_what_each_would_have_asked_for() -> None:
    place = {"oneOf": [{"required": ["waypoint"]}, {"required": ["x", "y"]}]}
    compiled = jsonschema_rs.Draft202012Validator(place)
    assert first_error(compiled, {"x": 4}, root="args") == (
        'args: {"x":4} fits none of the alternatives: "waypoint" is a required property, or "y" is a required property'
    )
