"""The built-in plugins, a folder each, written as a third party would write them."""
