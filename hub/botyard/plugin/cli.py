"""For plugins that add commands to `botyard`: the option and the words that the hub's own commands use."""

from botyard.cli.console import complain
from botyard.cli.options import ConfigOption, load_or_exit

__all__ = ["ConfigOption", "complain", "load_or_exit"]
