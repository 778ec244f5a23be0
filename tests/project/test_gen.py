"""The generators of docs and types."""

import json
from pathlib import Path

import pytest

from botyard.web import frames, models
from botyard_schemas.messages import BODIES
from tools.gen import settings, typescript
from tools.gen.__main__ import PARTS, ROOT
from tools.gen.jsonschema_words import limits, type_words
from tools.gen.markdown import BEGIN, END, between_markers, table


@pytest.mark.parametrize("name", PARTS)
def test_gen_pages_are_fresh(name: str) -> None:
    page = (ROOT / name).read_text(encoding="utf-8")
    assert page == between_markers(page, PARTS[name](ROOT), name), "run `make gen`"


def test_gen_of_settings_without_their_schema_fails(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        settings.hub_page(tmp_path)


def test_gen_of_types_without_their_script_fails(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci/node").symlink_to(ROOT / ".ci/node")
    with pytest.raises(RuntimeError, match=r"types\.mjs failed for wire\.gen\.ts"):
        typescript.compiled(tmp_path, {"$defs": {}}, "wire.gen.ts")


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_markers_that_are_not_one_pair_are_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"docs/x\.md: expected one line"):
        between_markers(text, "new", "docs/x.md")


def test_markers_keep_what_is_written_by_hand() -> None:
    assert between_markers(f"a\n{BEGIN}\nold\n{END}\nb\n", "new", "x") == f"a\n{BEGIN}\n\nnew\n\n{END}\nb\n"


def test_table_cells_cannot_break_the_table() -> None:
    assert table(("A", "B"), [("a|b", "c\nd")]).splitlines()[2] == r"| a\|b | c d |"


def test_words_of_a_schema_say_type_and_limits() -> None:
    part = {"type": "array", "items": {"type": "integer", "minimum": 1}, "maxItems": 1, "uniqueItems": True}
    assert type_words(part) == "list of integer"
    assert limits(part) == "At most 1 item, no item twice, each item at least 1."


def test_wire_types_document_defines_every_message_and_refers_to_nothing_else() -> None:
    document = typescript.wire_document()
    definitions = document["$defs"]
    assert {name.capitalize() for name in BODIES} | {"Envelope", "Group", "Channel", "Pose", "Geo"} == set(definitions)
    text = json.dumps(document)
    assert {ref.split('"')[0] for ref in text.split("#/$defs/")[1:]} <= set(definitions)
    assert definitions["State"]["properties"]["pose"] == {"$ref": "#/$defs/Pose"}


def test_model_types_document_says_which_fields_may_be_missing() -> None:
    definitions = typescript.models_document(models, frames)["$defs"]
    assert set(definitions["Robot"]["required"]) == {"id", "created", "spec", "status"}
    assert "next" in definitions["RobotPage"]["required"], "the hub says every field of what it answers"
    assert definitions["RobotCreate"]["required"] == ["id"], "requests may leave out what has a default"
    assert definitions["State"]["required"] == ["mode", "health"], "messages leave out what has a default"
    assert {"$ref": "#/$defs/Changes"} in definitions["ServerFrame"]["anyOf"]
