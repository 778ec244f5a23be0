"""The `botyard` command."""
