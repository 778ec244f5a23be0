"""Puts the keywords of a JSON Schema into words."""

from typing import Any

from tools.gen.markdown import code

Schema = dict[str, Any]

# The largest integer that every JSON reader keeps exactly.
SAFE = 2**53 - 1


def type_words(schema: Schema, definitions: Schema | None = None) -> str:
    """What kind of value is meant: `integer`, `list of string`, one of some words, or the name of an object's table."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{(definitions or {})[name]['title']}](#{name})" if definitions else name
    if "const" in schema:
        return code(schema["const"])
    if "enum" in schema:
        return " or ".join(code(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(type_words(part, definitions) for part in schema["anyOf"])
    kinds = schema.get("type", "any")
    if isinstance(kinds, list):
        return " or ".join("nothing" if kind == "null" else kind for kind in kinds)
    if kinds == "array":
        return f"list of {type_words(schema['items'], definitions)}" if "items" in schema else "list"
    return str(kinds)


def limits(schema: Schema) -> str:
    """What else a value must keep to, as one sentence; empty when there is nothing."""
    words = []
    if "pattern" in schema:
        words.append(f"matches `{schema['pattern']}`")
    for keyword, text in (
        ("minimum", "at least {}"),
        ("exclusiveMinimum", "more than {}"),
        ("maximum", "at most {}"),
        ("minLength", "at least {} characters"),
        ("maxLength", "at most {} characters"),
        ("minItems", "at least {} items"),
        ("maxItems", "at most {} items"),
        ("maxProperties", "at most {} entries"),
    ):
        if keyword in schema and abs(schema[keyword]) != SAFE:
            words.append(_plural(text.format(f"{schema[keyword]:,}"), schema[keyword]))
    if schema.get("uniqueItems"):
        words.append("no item twice")
    if isinstance(schema.get("items"), dict) and (inner := limits(schema["items"])):
        words.append("each item " + inner[0].lower() + inner[1:].rstrip("."))
    text = ", ".join(words)
    return text[:1].upper() + text[1:] + "." if text else ""


def _plural(text: str, number: float) -> str:
    if number != 1:
        return text
    for many, one in ((" characters", " character"), (" items", " item"), (" entries", " entry")):
        text = text.replace(many, one)
    return text
