"""The hub as a whole: its configuration, its event bus, and the parts in their order."""
