"""The pages about commands and hooks, from the code itself, so that neither can be undocumented."""

import argparse
import dataclasses
import inspect
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from tools.gen.markdown import sentences, table


def commands_page(_root: Path) -> str:
    """All commands of `botyard` and `botyard-edge`."""
    from botyard.cli.main import build_app
    from botyard_edge.cli import _parser

    hub = typer.main.get_command(build_app())
    return "\n\n".join([*_click_commands("botyard", hub), *_argparse_commands("botyard-edge", _parser())])


def hooks_page(_root: Path) -> str:
    """All hooks of hub and edge, and the events that a plugin may subscribe to."""
    from botyard.core import events
    from botyard.plugin import hookspecs as hub
    from botyard_edge import hookspecs as edge

    parts = ["## Hooks of the hub { #hub }", *_hooks(hub, "botyard_")]
    parts += ["## Hooks of the edge { #edge }", *_hooks(edge, "botyard_edge_")]
    parts += ["## Events of the hub { #events }", sentences(events.__doc__), _events(events)]
    return "\n\n".join(parts)


def _click_commands(name: str, command: Any) -> Iterator[str]:
    if hasattr(command, "commands"):
        for sub in sorted(command.commands):
            yield from _click_commands(f"{name} {sub}", command.commands[sub])
        return
    yield f"## `{name}` {{ #{name.replace(' ', '-')} }}"
    yield sentences(command.help)
    rows = [_parameter(parameter) for parameter in command.params]
    if rows:
        yield table(("Option", "Meaning", "Default", "Environment variable"), rows)


def _parameter(parameter: Any) -> tuple[str, ...]:
    """A row for an option or argument. Typer brings its own copy of Click, so the class cannot be named."""
    variable = f"`{parameter.envvar}`" if isinstance(parameter.envvar, str) else ""
    meaning = getattr(parameter, "help", None) or ""
    if parameter.param_type_name == "argument":
        return (f"`{parameter.name.upper()}`", meaning, "required" if parameter.required else "", variable)
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    default = parameter.default
    given = default not in (None, False, ()) and not callable(default)
    return (names, meaning, f"`{default}`" if given else "", variable)


def _argparse_commands(name: str, parser: argparse.ArgumentParser, about: str | None = None) -> Iterator[str]:
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001
    for group in groups:
        helps = {choice.dest: choice.help for choice in group._choices_actions}  # noqa: SLF001
        for sub, inner in (group.choices or {}).items():
            yield from _argparse_commands(f"{name} {sub}", inner, helps.get(sub))
    if groups:
        return
    yield f"## `{name}` {{ #{name.replace(' ', '-')} }}"
    text = sentences(about or parser.description)
    yield text[:1].upper() + text[1:].rstrip(".") + "."
    rows = [
        (
            ", ".join(f"`{flag}`" for flag in action.option_strings) or f"`{action.metavar or action.dest}`",
            action.help or "",
        )
        for action in parser._actions  # noqa: SLF001
        if not isinstance(action, argparse._HelpAction | argparse._VersionAction)  # noqa: SLF001
    ]
    if rows:
        yield table(("Option", "Meaning"), rows)


def _hooks(module: types.ModuleType, prefix: str) -> Iterator[str]:
    for name, function in vars(module).items():
        if name.startswith(prefix) and inspect.isfunction(function):
            yield f"### `{name}` {{ #{name} }}"
            yield f"```python\ndef {name}{_signature(function)}\n```"
            yield sentences(function.__doc__)


def _signature(function: Any) -> str:
    """As a person would write it: without the modules' names."""
    signature = inspect.signature(function)
    parameters = [f"{name}: {_type_name(parameter.annotation)}" for name, parameter in signature.parameters.items()]
    return f"({', '.join(parameters)}) -> {_type_name(signature.return_annotation)}"


def _type_name(annotation: Any) -> str:
    text = (
        annotation.__name__ if inspect.isclass(annotation) and not hasattr(annotation, "__args__") else str(annotation)
    )
    words = text.replace("NoneType", "None").replace("[", " [ ").replace("]", " ] ").replace(",", " , ").split(" ")
    joined = " ".join(word.rsplit(".", 1)[-1] for word in words if word)
    return joined.replace(" [ ", "[").replace(" ]", "]").replace(" , ", ", ")


def _events(module: types.ModuleType) -> str:
    classes: list[Any] = [
        cls for cls in vars(module).values() if inspect.isclass(cls) and cls.__module__ == module.__name__
    ]
    rows = [
        (
            f"`{cls.__name__}`",
            ", ".join(f"`{field.name}: {_type_name(field.type)}`" for field in dataclasses.fields(cls)),
            sentences(cls.__doc__),
        )
        for cls in classes
    ]
    return table(("Event", "Fields", "When"), rows)
