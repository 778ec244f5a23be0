"""From MQTT to committed in SQLite, beside a bare subscriber that only counts: `python -m benchmarks.ingest`.

Each round publishes the same messages through the same broker, first to the bare subscriber and then to the hub. The
hub's time ends when every message is committed. The medians and their ratio are printed and saved in artifacts/.
`--broker mosquitto` takes Mosquitto instead of the broker that the hub embeds.
"""

import argparse
import asyncio
import statistics
import time

import httpx
import psutil

from benchmarks.machine import broker, hub, line, mosquitto, process, save

ROBOTS = 20
CHANNELS = 4
PATIENCE = 120  # seconds
BROKERS = {"embedded": broker, "mosquitto": mosquitto}


async def bare(port: int, messages: int, sets: int, qos: int) -> float:
    """Messages per second that the bare subscriber counts."""
    async with process("benchmarks.counter", "127.0.0.1", port, messages, qos) as counter:
        assert await line(counter) == "ready"
        async with process("benchmarks.publisher", "127.0.0.1", port, ROBOTS, messages, sets, qos):
            return messages / float(await line(counter))


async def committed(port: int, messages: int, sets: int, qos: int) -> tuple[float, float]:
    """Messages per second that the hub commits, and seconds of CPU per 10,000 messages of hub and writer."""
    async with hub(port) as (url, pid), httpx.AsyncClient(base_url=url) as client:
        before = _cpu(pid)
        async with process("benchmarks.publisher", "127.0.0.1", port, ROBOTS, messages, sets, qos) as publisher:
            assert await line(publisher) == "start"
            started = time.perf_counter()
            while time.perf_counter() - started < PATIENCE:
                counters = (await client.get("/api/v1/hub")).json()["counters"]
                if counters.get("committed", 0) >= messages:
                    took = time.perf_counter() - started
                    break
                # each question costs the hub and us a millisecond of the two cores, so: rarely, until it is nearly done
                await asyncio.sleep(0.02 if counters.get("committed", 0) > 0.9 * messages else 0.2)
            else:
                raise SystemExit(f"the hub has not committed {messages:,} messages within {PATIENCE} s: {counters}")
        return messages / took, (_cpu(pid) - before) / messages * 10_000


def _cpu(pid: int) -> float:
    hub_process = psutil.Process(pid)
    times = [one.cpu_times() for one in (hub_process, *hub_process.children(recursive=True))]
    return sum(one.user + one.system for one in times)


async def measure(rounds: int, messages: int, sets: int, qos: int, name: str = "embedded") -> dict[str, float | str]:
    """One row of the table."""
    baseline, rates, cpu = [], [], []
    for _ in range(rounds):
        async with BROKERS[name]() as running:
            baseline.append(await bare(running.port, messages, sets, qos))
            rate, seconds = await committed(running.port, messages, sets, qos)
            rates.append(rate)
            cpu.append(seconds)
    middle = statistics.median(rates)
    return {
        "broker": name,
        "qos": qos,
        "sample_sets_per_message": sets,
        "bare_messages_per_s": round(statistics.median(baseline)),
        "committed_messages_per_s": round(middle),
        "committed_samples_per_s": round(middle * sets * CHANNELS),
        "ratio": round(middle / statistics.median(baseline), 2),
        "cpu_s_per_10k_messages": round(statistics.median(cpu), 2),
    }


async def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--broker", choices=BROKERS, default="embedded")
    options = parser.parse_args()
    rows = []
    for qos, sets, share in ((0, 1, 1), (1, 1, 1), (0, 50, 5)):
        row = await measure(options.rounds, options.messages // share, sets, qos, options.broker)
        rows.append(row)
        told = (f"{name} {value if isinstance(value, str) else f'{value:,}'}" for name, value in row.items())
        print("  ".join(told), flush=True)
    save("ingest" if options.broker == "embedded" else f"ingest-{options.broker}", rows)


if __name__ == "__main__":
    asyncio.run(main())
