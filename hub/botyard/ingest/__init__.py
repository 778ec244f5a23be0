"""Bytes to validated, ordered, deduplicated, committed and acknowledged messages."""
