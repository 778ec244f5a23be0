"""The description of the API: valid, complete, and kept by the hub whatever is sent to it."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import hypothesis
import jsonschema
import pytest
import schemathesis
from hypothesis import strategies as st
from quart import Quart
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from botyard.testing import RunningHub
from tests.hub.support import hub_in_a_thread, samples

METHODS = {"get", "post", "put", "patch", "delete"}
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
OPERATIONS = [
    "DELETE /api/v1/robots/{robot}",
    "GET /api/v1/events",
    "GET /api/v1/hub",
    "GET /api/v1/quarantine",
    "GET /api/v1/readings",
    "GET /api/v1/readings/aggregate",
    "GET /api/v1/readings/counts",
    "GET /api/v1/readings/latest",
    "GET /api/v1/robots",
    "GET /api/v1/robots/{robot}",
    "GET /api/v1/robots/{robot}/calibration",
    "GET /api/v1/robots/{robot}/channels",
    "GET /api/v1/robots/{robot}/commands",
    "GET /api/v1/robots/{robot}/commands/{command}",
    "GET /api/v1/robots/{robot}/messages",
    "GET /api/v1/robots/{robot}/state",
    "GET /api/v1/sites",
    "GET /api/v1/store",
    "GET /api/v1/streams",
    "GET /healthz",
    "GET /readyz",
    "PATCH /api/v1/robots/{robot}",
    "POST /api/v1/robots",
    "POST /api/v1/robots/{robot}/accept",
    "POST /api/v1/robots/{robot}/commands",
    "POST /api/v1/robots/{robot}/commands/{command}/cancel",
    "POST /api/v1/robots/{robot}/retire",
    "POST /api/v1/robots/{robot}/return",
    "POST /api/v1/session",
    "POST /api/v1/store/compact",
    "POST /api/v1/telemetry",
]
# What is served and not part of the described API: pages and files.
UNDESCRIBED = {"/", "/<path:path>", "/api/docs", "/api/docs/start.js", "/api/v1/openapi.json", "/api/v1/ws"}


async def fill(running: RunningHub) -> None:
    """Something of everything, so that answers are not empty."""
    robot = running.robot("r")
    await robot.post(samples(robot, 1, 2, 3))
    await robot.telemetry({"line": "A", "at": {"a": 1}, "lamp": True})
    await robot.state(pose={"frame": "hall", "x": 1, "y": 2, "yaw": 0}, battery={"level": 0.5}, about={"name": "R"})
    await robot.event("docked", data={"a": [None]})
    await robot.telemetry({"x": float("inf")})
    await running.transport.deliver("botyard/v1/r/up/event", b"{")
    await running.transport.committed()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with hub_in_a_thread(tmp_path_factory.mktemp("hub"), fill) as address:
        yield address


@pytest.fixture(scope="module")
def description(url: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{url}/api/v1/openapi.json").json()
    return found


def operations(description: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            assert method in METHODS
            yield f"{method.upper()} {path}", operation


def parts(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from parts(child)


def test_openapi_is_of_version_3_1_and_names_what_it_describes(description: dict[str, Any]) -> None:
    assert re.fullmatch(r"3\.1\.\d", description["openapi"])
    assert description["info"]["title"] == "Botyard"
    assert description["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}


def test_openapi_describes_every_operation(description: dict[str, Any]) -> None:
    assert sorted(name for name, _ in operations(description)) == OPERATIONS


def test_openapi_leaves_no_route_out(description: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from botyard.core.config import Config
    from botyard.core.hub import Hub
    from botyard.web.app import build_app
    from botyard.web.feed import Feed

    hub = Hub(Config())
    app: Quart = build_app(hub, Feed(hub))
    rules = {
        re.sub(r"<(\w+)>", r"{\1}", rule.rule) for rule in app.url_map.iter_rules() if rule.rule not in UNDESCRIBED
    }
    assert rules == set(description["paths"])


def test_openapi_references_lead_somewhere_and_every_component_is_used(description: dict[str, Any]) -> None:
    references = {part["$ref"] for part in parts(description) if isinstance(part.get("$ref"), str)}
    names = {reference.removeprefix("#/components/schemas/") for reference in references}
    assert names == set(description["components"]["schemas"])


def test_openapi_schemas_are_json_schemas(description: dict[str, Any]) -> None:
    for name, schema in description["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema.get("description"), name


def test_openapi_operations_are_described_with_their_parameters_and_answers(description: dict[str, Any]) -> None:
    for name, operation in operations(description):
        assert operation["summary"], name
        assert operation["description"], name
        assert operation["tags"], name
        in_path = {found["name"] for found in operation.get("parameters", []) if found["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", name)), name
        assert any(status.startswith("2") for status in operation["responses"]), name
        for status, response in operation["responses"].items():
            assert response["description"], (name, status)
            if status[0] in "45" and "422" not in status:
                assert list(response["content"]) == ["application/problem+json"], (name, status)


def test_openapi_operation_ids_are_unique(description: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, operation in operations(description) if "operationId" in operation]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", OPERATIONS)
def test_openapi_is_kept_by_the_hub_whatever_is_sent(url: str, description: dict[str, Any], name: str) -> None:
    method, path = name.split(" ")
    # this machine needs no token, and made-up ones would keep every request out
    schema = schemathesis.openapi.from_dict({key: part for key, part in description.items() if key != "security"})
    strategy = schema[path][method].as_strategy()

    @hypothesis.settings(
        max_examples=15,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(case=strategy, known=st.booleans())
    def run(case: schemathesis.Case[Any], known: bool) -> None:
        if known and "{robot}" in path and method != "DELETE":
            case.path_parameters["robot"] = "r"
        if known and case.query:
            case.query.update(
                {key: value for key, value in {"robot": "r", "channel": "x"}.items() if key in case.query}
            )
        response = case.call(base_url=url)
        case.validate_response(response, checks=CHECKS)

    run()
