"""Run all benchmarks: `make bench`, or `python -m benchmarks`."""

import asyncio

from benchmarks import disk, edge, idle, ingest, latency, safety


async def main() -> None:
    """One after the other: they share the machine."""
    for benchmark in (idle, edge, safety, latency, ingest, disk):
        print(f"\n{(benchmark.__doc__ or '').splitlines()[0]}")
        await benchmark.main()


if __name__ == "__main__":
    asyncio.run(main())
