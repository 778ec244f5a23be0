"""Loading plugins: built-in ones, and mistakes in others."""

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import pluggy
import pytest

from botyard.plugin import PluginError, hookspecs
from botyard.plugin.manager import DEFAULT_PLUGINS, build_plugin_manager
from botyard.testing import running_hub

HOOKS = sorted(name for name in vars(hookspecs) if name.startswith("botyard_"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that modules can be imported from; they are forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if name.startswith("acme"):
            del sys.modules[name]


def refusal(*modules: str) -> str:
    with pytest.raises(PluginError) as refused:
        build_plugin_manager(modules, defaults=())
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_plugins_that_are_built_in_load_in_their_order() -> None:
    manager = build_plugin_manager()
    loaded = [name for name, _ in manager.list_name_plugin()]
    assert loaded[: len(DEFAULT_PLUGINS)] == list(DEFAULT_PLUGINS)


def test_plugins_of_two_managers_do_not_know_each_other(folder: Path) -> None:
    (folder / "acme_one.py").write_text("")
    assert build_plugin_manager(["acme_one"]).has_plugin("acme_one")
    assert not build_plugin_manager().has_plugin("acme_one")


def test_plugin_that_is_not_there_is_named_with_the_cure() -> None:
    assert refusal("acme_gone.hub") == ("plugin 'acme_gone.hub': there is no such module; is its package installed?")


def test_plugin_that_needs_a_module_that_is_not_there_is_told_from_one_that_is_not_there(folder: Path) -> None:
    (folder / "acme_needs.py").write_text("import zzz_not_there\n")
    assert refusal("acme_needs") == "plugin 'acme_needs' needs the module 'zzz_not_there', which is not installed"


def test_plugin_whose_name_begins_like_a_missing_module_is_told_from_one_that_is_not_there(folder: Path) -> None:
    (folder / "acmes.py").write_text("import acme\n")
    assert refusal("acmes") == "plugin 'acmes' needs the module 'acme', which is not installed"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise RuntimeError('on purpose')\n", "RuntimeError: on purpose"),
        ("1 +\n", "SyntaxError: "),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3"),
    ],
)
def test_plugin_that_raises_is_named_with_what_it_raised(folder: Path, text: str, said: str) -> None:
    (folder / "acme_raises.py").write_text(text)
    assert refusal("acme_raises").startswith(f"plugin 'acme_raises' cannot be imported: {said}")


def test_plugin_that_is_named_twice_is_refused(folder: Path) -> None:
    (folder / "acme_twice.py").write_text("")
    assert refusal("acme_twice", "acme_twice") == ("plugin 'acme_twice' is named twice; name it once under plugins:")


def test_plugin_that_is_built_in_and_named_again_is_refused() -> None:
    with pytest.raises(PluginError, match=r"'botyard\.transport\.mqtt' is named twice"):
        build_plugin_manager(["botyard.transport.mqtt"])


def test_plugin_with_a_misspelt_hook_is_refused_with_the_hooks_that_there_are(folder: Path) -> None:
    (folder / "acme_typo.py").write_text(
        "from botyard.plugin import hookimpl\n@hookimpl\ndef botyard_transport(context): ...\n"
    )
    sentence = refusal("acme_typo")
    assert "botyard_transport" in sentence
    assert "acme_typo" in sentence
    assert ", ".join(HOOKS) in sentence


def test_plugin_hook_with_an_argument_that_it_does_not_get_is_refused(folder: Path) -> None:
    (folder / "acme_argument.py").write_text(
        "from botyard.plugin import hookimpl\n@hookimpl\ndef botyard_auth(contxt): ...\n"
    )
    sentence = refusal("acme_argument")
    assert "acme_argument" in sentence
    assert "contxt" in sentence


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_is_documented_typed_and_used_by_a_built_in_plugin(hook: str) -> None:
    function = getattr(hookspecs, hook)
    assert inspect.getdoc(function)
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(parameter.annotation is not inspect.Parameter.empty for parameter in signature.parameters.values())
    used = getattr(build_plugin_manager().hook, hook).get_hookimpls()
    assert used, f"nobody uses {hook}"


async def test_hub_with_a_plugin_whose_hook_raises_says_which_and_leaves_nothing_running(tmp_path: Path) -> None:
    class Broken:
        __name__ = "acme.broken"

        @pluggy.HookimplMarker("botyard")
        def botyard_auth(self, context: object) -> None:
            raise RuntimeError("on purpose")

    with pytest.raises(PluginError, match=r"botyard_auth.*RuntimeError: on purpose"):
        async with running_hub(tmp_path, plugins=[Broken()]):
            pass
