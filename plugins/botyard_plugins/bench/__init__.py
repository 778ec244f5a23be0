"""`botyard bench`: what a machine can carry, measured with virtual robots that keep the whole wire contract.

`plan` says what is wanted, `run` does it and gives a `result`; `report` shows it. The virtual robots live in processes
of their own (`generator`): `outbox` is what each remembers, `messages` what it sends, `fleet` when, and `link` how.
"""
