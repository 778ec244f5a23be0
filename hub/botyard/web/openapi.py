"""The OpenAPI description of the API, made from the handlers and the classes that they take and give."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from quart_schema.openapi import OpenAPIProvider
from quart_schema.validation import QUART_SCHEMA_QUERYSTRING_ATTRIBUTE, DataSource
from werkzeug.routing import Rule

from botyard.web.models import Problem

F = TypeVar("F", bound=Callable[..., Any])
Json = dict[str, Any]

_PLAIN = "_botyard_plain_response"
_REFUSED = {
    401: "The auth providers do not let the request pass.",
    403: "The request comes from a foreign web page.",
    421: "The request addresses the hub by a name that is not its own.",
}


def plain_response(status: int, description: str) -> Callable[[F], F]:
    """Document an answer without a JSON body."""

    def decorator(function: F) -> F:
        setattr(function, _PLAIN, {**getattr(function, _PLAIN, {}), status: description})
        return function

    return decorator


class ApiDescription(OpenAPIProvider):
    """Quart-Schema's description, with every class described once under `components` and problems told apart."""

    def build_paths(self, rule: Rule) -> tuple[Json, Json]:
        paths, components = super().build_paths(rule)
        function = self._app.view_functions[rule.endpoint]
        components.update(_components(Problem))
        for operations in paths.values():
            for operation in operations.values():
                self._complete(operation, function)
        return paths, components

    def _complete(self, operation: Json, function: Callable[..., Any]) -> None:
        text = inspect.cleandoc(function.__doc__ or "")
        sentence, dot, rest = text.replace("\n", " ").partition(". ")
        operation["summary"] = sentence.removesuffix(".")
        query = getattr(function, QUART_SCHEMA_QUERYSTRING_ATTRIBUTE, None)
        about_query = inspect.cleandoc(query.__doc__ or "").replace("\n", " ") if query else ""
        operation["description"] = "\n\n".join(part for part in (f"{sentence}{dot}{rest}", about_query) if part)
        for status, description in getattr(function, _PLAIN, {}).items():
            operation["responses"][status] = {"description": description}
        for status, description in _REFUSED.items():
            operation["responses"].setdefault(status, _problem_response(description))

    def build_querystring_parameters(self, model: type[Any]) -> tuple[list[Json], Json]:
        (schema,), components = msgspec.json.schema_components([model], ref_template="#/components/schemas/{name}")
        described = components.pop(model.__name__, schema)
        parameters = []
        for name, kind in described["properties"].items():
            options = [option for option in kind.pop("anyOf", []) if option != {"type": "null"}]
            if len(options) == 1:
                kind = {**kind, **options[0]}
            if kind.get("default", ...) in (None, []):
                del kind["default"]
            required = name in described.get("required", [])
            parameters.append({"name": name, "in": "query", "required": required, "schema": kind})
        return parameters, components

    def build_request_body(self, model: type[Any], source: DataSource) -> tuple[Json, Json]:  # noqa: ARG002
        body = {"required": True, "content": {"application/json": {"schema": _reference(model)}}}
        return body, _components(model)

    def build_response_object(self, model: type[Any], headers_model: type[Any] | None) -> tuple[Json, Json]:  # noqa: ARG002
        description = inspect.cleandoc(model.__doc__ or "")
        if model is Problem:
            return _problem_response("The request cannot be done; `detail` says why."), {}
        content = {"application/json": {"schema": _reference(model)}}
        return {"description": description, "content": content}, _components(model)


def _problem_response(description: str) -> Json:
    return {"description": description, "content": {"application/problem+json": {"schema": _reference(Problem)}}}


def _reference(model: type[Any]) -> Json:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _components(model: type[Any]) -> Json:
    _, components = msgspec.json.schema_components([model], ref_template="#/components/schemas/{name}")
    return dict(components)
