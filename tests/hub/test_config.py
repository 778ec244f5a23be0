"""The hub's configuration: defaults, mistakes, and the example file."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from botyard.core.config import Config, config_schema, is_loopback, load_config, read_config
from botyard_schemas.settings import SettingsError

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"
# A setting that is commented out has no space after its hash, a comment has one.
COMMENTED_OUT = re.compile(r"^(\s*)#(?=\S)", re.MULTILINE)


def written(folder: Path, text: str) -> Path:
    file = folder / "config.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def keys(schema: dict[str, Any], *above: str) -> Iterator[tuple[str, ...]]:
    for key, part in schema["properties"].items():
        yield (*above, key)
        if "properties" in part:
            yield from keys(part, *above, key)


def test_config_without_file_and_environment_equals_the_defaults_of_the_classes() -> None:
    assert load_config(None, environ={}) == Config()


def test_config_classes_have_a_field_for_each_setting_and_no_other() -> None:
    def fields(kind: Any, *above: str) -> Iterator[tuple[str, ...]]:
        for field in msgspec.structs.fields(kind):
            if field.name != "base":
                yield (*above, field.name)
                if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
                    yield from fields(field.type, *above, field.name)

    assert sorted(fields(Config)) == sorted(keys(config_schema()))


def test_config_schema_describes_every_setting_with_default_and_valid_example(tmp_path: Path) -> None:
    def check(schema: dict[str, Any]) -> None:
        for key, part in schema["properties"].items():
            assert part["title"], key
            assert part["description"], key
            if "properties" in part:
                assert part["additionalProperties"] is False
                check(part)
            else:
                assert "default" in part, key
                assert part["examples"], key

    check(config_schema())


def test_config_example_as_it_is_equals_the_defaults(tmp_path: Path) -> None:
    settings = load_config(written(tmp_path, EXAMPLE.read_text(encoding="utf-8")), environ={})
    assert settings == msgspec.structs.replace(Config(), base=tmp_path)


def test_config_example_with_every_setting_uncommented_equals_the_defaults(tmp_path: Path) -> None:
    text = COMMENTED_OUT.sub(r"\1", EXAMPLE.read_text(encoding="utf-8"))
    settings = load_config(written(tmp_path, text), environ={})
    assert settings == msgspec.structs.replace(Config(), base=tmp_path)


def test_config_example_holds_each_setting_once_with_its_description() -> None:
    indented: list[str] = []
    found: dict[tuple[str, ...], str] = {}
    comment: list[str] = []
    for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
        if remark := re.fullmatch(r"\s*# (.*)", line):
            comment.append(remark[1])
        elif setting := re.fullmatch(r"( *)#?([a-z_]+):.*", line):
            indented[len(setting[1]) // 2 :] = [setting[2]]
            assert tuple(indented) not in found
            found[tuple(indented)] = " ".join(comment)
            comment = []
        else:
            comment = []
    descriptions = {path: _part(path)["description"] for path in keys(config_schema())}
    assert found == descriptions


def _part(path: tuple[str, ...]) -> dict[str, Any]:
    part = config_schema()
    for key in path:
        part = part["properties"][key]
    return part


BAD = [
    ("web:\n  port: 70000\n", {}, "config.yaml:2: web.port: 70000 is greater than the maximum of 65535"),
    ("web:\n  port: abc\n", {}, 'config.yaml:2: web.port: "abc" is not of type "integer"'),
    ("\nwbe:\n  port: 1\n", {}, "config.yaml:2: wbe: unknown key, did you mean 'web'?"),
    ("broker:\n  prot: 1\n", {}, "config.yaml:2: broker.prot: unknown key, did you mean 'port'?"),
    ("web: 8080\n", {}, 'config.yaml:1: web: 8080 is not of type "object"'),
    ("roles: [web, cook]\n", {}, 'config.yaml:1: roles[1]: "cook" is not one of "ingest", "web" or "scheduler"'),
    ("log_level: loud\n", {}, 'config.yaml:1: log_level: "loud" is not one of '),
    ("plugins: [acme-x]\n", {}, 'config.yaml:1: plugins[0]: "acme-x" does not match '),
    ("broker:\n  url: http://x\n", {}, 'config.yaml:2: broker.url: "http://x" does not match '),
    ("broker:\n  url: mqtt://:1883\n", {}, "config.yaml:2: broker.url: 'mqtt://:1883' names no host"),
    ("broker:\n  url: mqtt://h:99999\n", {}, "config.yaml:2: broker.url: 'mqtt://h:99999': Port out of range 0-65535"),
    ("ingest:\n  oldest: 2015-02-30\n", {}, "config.yaml:2: ingest.oldest: '2015-02-30' is not a date of the calendar"),
    (
        "ingest:\n  max_message_bytes: 1\n",
        {},
        "config.yaml:2: ingest.max_message_bytes: 1 is less than the minimum of 1024",
    ),
    ("fleet:\n  offline_after: 0\n", {}, "config.yaml:2: fleet.offline_after: 0 "),
    ("store:\n  quarantine_limit: 0\n", {}, "config.yaml:2: store.quarantine_limit: 0 is less than the minimum of 1"),
    ("store:\n  keep:\n    event: 1\n", {}, "config.yaml:3: store.keep.event: unknown key, did you mean 'events'?"),
    (
        "store:\n  keep:\n    events:\n      days: 0\n",
        {},
        "config.yaml:4: store.keep.events.days: 0 is less than or equal to the minimum of 0",
    ),
    (
        "store:\n  keep:\n    telemetry:\n      bytes: 20 XB\n",
        {},
        "config.yaml:4: store.keep.telemetry.bytes: '20 XB' is no size; write a number of bytes, or 500 MB, 20 GB",
    ),
    (
        "store:\n  keep:\n    telemetry:\n      bytes: 999999\n",
        {},
        "config.yaml:4: store.keep.telemetry.bytes: 999999 is not between 1 MB and 1000 TB",
    ),
    (
        "",
        {"BOTYARD__STORE__KEEP__EVENTS__BYTES": "many"},
        "environment variable BOTYARD__STORE__KEEP__EVENTS__BYTES: store.keep.events.bytes: 'many' is no size",
    ),
    ("", {"BOTYARD__WEB__PORT": "x"}, 'environment variable BOTYARD__WEB__PORT: web.port: "x" is not of type'),
    ("", {"BOTYARD__WBE__PORT": "1"}, "environment variable BOTYARD__WBE__PORT: wbe: unknown key, did you mean 'web'?"),
    (
        "",
        {"BOTYARD__BROKER__URL": "mqtt://:1883"},
        "environment variable BOTYARD__BROKER__URL: broker.url: 'mqtt://:1883' names no host",
    ),
    (
        "ingest:\n  oldest: 2016-01-01\n",
        {"BOTYARD__INGEST__OLDEST": "2015-13-01"},
        "environment variable BOTYARD__INGEST__OLDEST: ingest.oldest: '2015-13-01' is not a date of the calendar",
    ),
]


@pytest.mark.parametrize(("text", "environ", "sentence"), BAD)
def test_config_with_a_mistake_is_refused_with_place_key_and_value(
    tmp_path: Path, text: str, environ: dict[str, str], sentence: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        load_config(written(tmp_path, text), environ=environ)
    (problem,) = refused.value.problems
    assert problem.removeprefix(f"{tmp_path}/").startswith(sentence)


def test_config_site_file_that_is_not_there_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").touch()
    with pytest.raises(SettingsError) as refused:
        load_config(written(tmp_path, "fleet:\n  sites:\n    - a.yaml\n    - b.yaml\n"), environ={})
    assert refused.value.problems == [f"{tmp_path}/config.yaml:4: fleet.sites[1]: there is no file '{tmp_path}/b.yaml'"]


def test_config_with_several_mistakes_names_all_of_them(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        load_config(written(tmp_path, "web:\n  port: x\nbroker:\n  port: y\n"), environ={"BOTYARD__X": "1"})
    assert len(refused.value.problems) == 3


def test_config_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    settings = load_config(written(tmp_path, "data_dir: var\nstore:\n  url: sqlite:///fleet.db\n"), environ={})
    assert settings.data == tmp_path / "var"
    assert settings.store_url == f"sqlite:///{tmp_path}/var/fleet.db"


def test_config_absolute_store_file_stays_where_it_is(tmp_path: Path) -> None:
    settings = load_config(written(tmp_path, "store:\n  url: sqlite:////srv/fleet.db\n"), environ={})
    assert settings.store_url == "sqlite:////srv/fleet.db"


def test_config_without_a_name_is_the_file_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("BOTYARD__")]:
        monkeypatch.delenv(name)
    assert read_config() == Config()
    written(tmp_path, "web:\n  port: 9000\n")
    assert read_config().web.port == 9000


def test_config_of_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, "web:\n  port: 9000\n")
    environ = {"BOTYARD__WEB__PORT": "9001", "BOTYARD__ROLES": "[web]", "BOTYARD__WEB__HOST": "::1"}
    settings = load_config(file, environ=environ)
    assert (settings.web.port, settings.roles, settings.web.host) == (9001, ("web",), "::1")


def test_config_oldest_is_a_day_in_utc() -> None:
    assert Config().ingest.oldest_us == 1_420_070_400_000_000


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("example.org", False),
        ("", False),
    ],
)
def test_is_loopback_knows_this_machine_from_others(host: str, local: bool) -> None:
    assert is_loopback(host) is local


def test_config_schema_is_json_that_says_where_it_comes_from() -> None:
    assert json.loads(json.dumps(config_schema()))["$id"] == "urn:botyard:schema:config"


@pytest.mark.parametrize(
    ("said", "size"),
    [
        ("2000000", 2_000_000),
        ("500 MB", 500_000_000),
        ("1.5GB", 1_500_000_000),
        ("3 TiB", 3 * 2**40),
        ("20000 kB", 20_000_000),
        ("7000000 B", 7_000_000),
        ("", None),
        ("null", None),
    ],
)
def test_config_size_is_read_as_people_write_it(tmp_path: Path, said: str, size: int | None) -> None:
    text = f"store:\n  keep:\n    events:\n      bytes: {said}\n"
    assert load_config(written(tmp_path, text), environ={}).store.keep.events.bytes == size
    named = load_config(None, environ={"BOTYARD__STORE__KEEP__EVENTS__BYTES": said})
    assert named.store.keep.events.bytes == size
