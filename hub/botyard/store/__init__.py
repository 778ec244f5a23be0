"""Keeps what the hub must not forget, in SQLite or PostgreSQL."""
