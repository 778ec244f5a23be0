"""What changed in the schema, version by version. A migration that was released is never edited.

After a change to the models: `python -m tortoise -c botyard.store.schema.DEVELOPMENT makemigrations`, then `make fmt`.
"""
