import sys
import types

import pytest

from botyard_edge.driver import DriverSpec
from botyard_edge.hookspecs import hookimpl
from botyard_edge.plugins import PluginError, build_plugin_manager, drivers, unknown_driver


def module(monkeypatch: pytest.MonkeyPatch, name: str, **content: object) -> str:
    made = types.ModuleType(name)
    for key, value in content.items():
        setattr(made, key, value)
    monkeypatch.setitem(sys.modules, name, made)
    return name


def bringing(name: str) -> object:
    @hookimpl
    def botyard_edge_drivers() -> list[DriverSpec]:
        return [DriverSpec(name, "", lambda _: None, {})]  # type: ignore[arg-type, return-value]

    return botyard_edge_drivers


def test_built_in_drivers_come_through_the_same_door() -> None:
    assert {"sim", "replay"} <= set(drivers(build_plugin_manager()))


def test_managers_share_nothing() -> None:
    assert drivers(build_plugin_manager(defaults=())) == {}


def test_driver_that_two_plugins_bring_is_an_error_that_names_both(monkeypatch: pytest.MonkeyPatch) -> None:
    one = module(monkeypatch, "one_plugin", botyard_edge_drivers=bringing("arm"))
    two = module(monkeypatch, "two_plugin", botyard_edge_drivers=bringing("arm"))
    with pytest.raises(PluginError, match=r"driver 'arm' is brought by both '(one|two)_plugin' and '(one|two)_plugin'"):
        drivers(build_plugin_manager([one, two], defaults=()))


def test_misspelt_hook_is_an_error_that_names_the_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    @hookimpl
    def botyard_edge_driver() -> None: ...

    name = module(monkeypatch, "typo_plugin", botyard_edge_driver=botyard_edge_driver)
    with pytest.raises(PluginError, match=r"botyard_edge_driver.*the hooks are botyard_edge_drivers"):
        build_plugin_manager([name], defaults=())


def test_plugin_that_is_not_there_is_an_error_with_the_cure() -> None:
    with pytest.raises(PluginError, match="plugin 'no_such_plugin': there is no such module"):
        build_plugin_manager(["no_such_plugin"], defaults=())


def test_plugin_named_twice_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    name = module(monkeypatch, "one_plugin")
    with pytest.raises(PluginError, match="'one_plugin' is named twice"):
        build_plugin_manager([name, name], defaults=())


def test_unknown_driver_is_said_with_the_known_ones() -> None:
    assert unknown_driver("rplay", ["sim", "replay"]) == (
        "no plugin brings a driver 'rplay', known are replay, sim; did you mean 'replay'?"
    )
