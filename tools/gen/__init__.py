"""Makes the files that follow from the schemas and the code: parts of the docs and the dashboard's TypeScript types.

`make gen` renews them; `make check` fails while one of them is stale. `__main__` lists them all.
"""
