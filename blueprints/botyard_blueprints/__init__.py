"""The mission blueprints that ship with the hub."""
