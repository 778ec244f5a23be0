"""The hub: receives, keeps and serves what robots send. Its rooms are listed in docs/architecture.md."""
