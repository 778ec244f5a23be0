"""Settings from YAML and the environment, and the sentences about mistakes in them."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botyard_schemas.settings import SettingsError, load, locate

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "default": "hub"},
        "web": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "host": {"type": "string", "default": "127.0.0.1"},
                "port": {"type": "integer", "minimum": 0, "maximum": 65535, "default": 8080},
                "url": {"type": ["string", "null"], "default": None},
            },
        },
        "sites": {"type": "array", "items": {"type": "string"}, "default": []},
        "on": {"type": "boolean", "default": False},
    },
}
DEFAULTS = {"name": "hub", "web": {"host": "127.0.0.1", "port": 8080, "url": None}, "sites": [], "on": False}


def _load(tmp_path: Path, text: str, **environ: str) -> dict[str, Any]:
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    return load(file, SCHEMA, environ=environ)


def _problems(tmp_path: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        _load(tmp_path, text, **environ)
    return [problem.replace(f"{tmp_path}/", "") for problem in refused.value.problems]


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "{}\n", "web: {}\n", "web:\n", "null\n"])
def test_settings_that_say_nothing_are_the_defaults(tmp_path: Path, text: str) -> None:
    assert _load(tmp_path, text) == DEFAULTS


def test_settings_without_file_are_the_defaults() -> None:
    assert load(None, SCHEMA, environ={}) == DEFAULTS


def test_settings_defaults_are_not_shared_between_loads() -> None:
    load(None, SCHEMA, environ={})["sites"].append("changed")
    assert load(None, SCHEMA, environ={}) == DEFAULTS


def test_settings_of_the_file_win_over_defaults(tmp_path: Path) -> None:
    assert _load(tmp_path, "web:\n  port: 9000\n")["web"] == {"host": "127.0.0.1", "port": 9000, "url": None}


def test_settings_of_the_environment_fill_a_section_that_is_empty_in_the_file(tmp_path: Path) -> None:
    assert _load(tmp_path, "web:\n", BOTYARD__WEB__PORT="9001")["web"]["port"] == 9001


def test_settings_of_the_environment_win_over_the_file(tmp_path: Path) -> None:
    loaded = _load(tmp_path, "web:\n  port: 9000\n", BOTYARD__WEB__PORT="9001", BOTYARD__SITES="[a, b]", OTHER="x")
    assert loaded["web"]["port"] == 9001
    assert loaded["sites"] == ["a", "b"]


@pytest.mark.parametrize("text", ["1883", "yes", "null", "[1]", "a: b", ""])
def test_settings_of_the_environment_for_a_text_are_taken_as_they_are(tmp_path: Path, text: str) -> None:
    assert _load(tmp_path, "", BOTYARD__NAME=text)["name"] == text


def test_settings_of_the_environment_can_say_null_where_it_is_allowed(tmp_path: Path) -> None:
    assert _load(tmp_path, "web:\n  url: mqtt://a\n", BOTYARD__WEB__URL="null")["web"]["url"] is None


def test_settings_key_that_yaml_takes_for_a_boolean_is_a_key(tmp_path: Path) -> None:
    assert _load(tmp_path, "on: true\n")["on"] is True


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("web:\n  port: http\n", 'config.yaml:2: web.port: "http" is not of type "integer"'),
        ("web:\n  port: 70000\n", "config.yaml:2: web.port: 70000 is greater than the maximum of 65535"),
        ("web:\n  prot: 80\n", "config.yaml:2: web.prot: unknown key, did you mean 'port'?"),
        ("zzz: 1\n", "config.yaml:1: zzz: unknown key, known are name, on, sites, web"),
        ("web: 5\n", 'config.yaml:1: web: 5 is not of type "object"'),
        ("name: x\nsites:\n- a\n- 5\n", 'config.yaml:4: sites[1]: 5 is not of type "string"'),
        ("name: 2025-01-01\nsites: x\n", 'config.yaml:2: sites: "x" is not of type "array"'),
        ("name: a\nname: b\n", "config.yaml:2: name: stands twice, first in line 1"),
        ("- a\n", "config.yaml:1: expected sections and keys (`web:` …), this is a list"),
        ("hello\n", "config.yaml:1: expected sections and keys (`web:` …), this is a single value"),
        ("? [a]\n: 1\n", "config.yaml:1: a key is a word, this is a list"),
        ("web:\n\tport: 1\n", "config.yaml:2: not YAML: found character"),
        ("a: [1\n", "config.yaml:2: not YAML: expected ',' or ']'"),
        ("a: *b\n", "config.yaml:1: not YAML: found undefined alias"),
        ("--- {}\n--- {}\n", "config.yaml:2: not YAML: but found another document"),
        ("name: !!python/object:os.system x\n", "config.yaml:1: not YAML: could not determine a constructor"),
        ("name: \x07\n", "config.yaml: not YAML: "),
        ("web: &a\n  <<: *a\n", "config.yaml"),
    ],
)
def test_settings_mistake_is_told_with_file_line_key_and_value(tmp_path: Path, text: str, sentence: str) -> None:
    problems = _problems(tmp_path, text)
    assert len(problems) == 1
    assert problems[0].startswith(sentence)
    assert "\n" not in problems[0]


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"BOTYARD__WEB__PORT": "http"}, 'environment variable BOTYARD__WEB__PORT: web.port: "http" is not of type'),
        (
            {"BOTYARD__WEB__PROT": "1"},
            "environment variable BOTYARD__WEB__PROT: web.prot: unknown key, did you mean 'port'?",
        ),
        ({"BOTYARD__SITES": "[a"}, "environment variable BOTYARD__SITES: '[a' is not YAML"),
        ({"BOTYARD__WEB": "5"}, 'environment variable BOTYARD__WEB: web: 5 is not of type "object"'),
        ({"BOTYARD__NAME__FIRST": "x"}, "environment variable BOTYARD__NAME__FIRST: name.first: unknown key"),
    ],
)
def test_settings_mistake_in_the_environment_names_the_variable(
    tmp_path: Path, environ: dict[str, str], sentence: str
) -> None:
    assert _problems(tmp_path, "", **environ)[0].startswith(sentence)


def test_settings_mistakes_are_all_told_at_once(tmp_path: Path) -> None:
    problems = _problems(tmp_path, "web:\n  port: x\n  hots: y\nsites: 3\n", BOTYARD__ON="maybe")
    assert len(problems) == 4
    assert [problem.split(": ")[0] for problem in sorted(problems)] == [
        *("config.yaml:2", "config.yaml:3", "config.yaml:4"),
        "environment variable BOTYARD__ON",
    ]


def test_settings_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"missing\.yaml: cannot be read: No such file"):
        load(tmp_path / "missing.yaml", SCHEMA, environ={})
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe4\n")
    with pytest.raises(SettingsError, match="it is not UTF-8 text"):
        load(tmp_path / "latin.yaml", SCHEMA, environ={})


@given(text=st.text(alphabet="ab:-[]{}&*!|>'\"#%@,? \n\t0\\~<=", max_size=40))
def test_settings_of_any_text_are_loaded_or_refused_in_sentences(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    file.write_text(text, encoding="utf-8")
    try:
        assert load(file, SCHEMA, environ={}).keys() == DEFAULTS.keys()
    except SettingsError as refused:
        assert all(str(file) in problem for problem in refused.problems)  # noqa: PT017 - either outcome is right


def test_locate_finds_the_line_of_a_key_or_of_its_section(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("name: x\nweb:\n  port: 1\n", encoding="utf-8")
    assert locate(file, ("web", "port")) == f"{file}:3"
    assert locate(file, ("web", "host")) == f"{file}:2"
    assert locate(file, ("sites",)) == f"{file}:1"
