"""A whole benchmark: a hub and virtual robots are started, measured, checked and ended."""

import asyncio
import contextlib
import datetime as dt
import functools
import os
import secrets
from collections.abc import Callable
from typing import Any

import msgspec

from botyard_plugins.bench import result as results
from botyard_plugins.bench import usage
from botyard_plugins.bench.hubapi import HubApi, each
from botyard_plugins.bench.messages import channel_names
from botyard_plugins.bench.plan import Plan, check
from botyard_plugins.bench.processes import BenchError, Generators, OwnHub
from botyard_plugins.bench.result import Disk, Latency, Outage, Result, Throughput, Verified
from botyard_plugins.bench.statistics import Durations, percentiles
from botyard_plugins.bench.watcher import Watcher
from botyard_schemas import __version__
from botyard_schemas.clock import Clock, SystemClock

WATCHED = 8
LOOK_EVERY = 0.2
READY_WITHIN, ANSWER_WITHIN, CONNECTED_WITHIN, COMPACTED_WITHIN = 30.0, 5.0, 60.0, 20.0
# What may pass without anything being acknowledged, before it is given up: seconds.
PATIENCE = 60.0
# Quiet seconds between the first sign of every robot and the measuring.
WARM_UP = 1.0
MARGIN = 60_000_000  # µs around the run's time stamps, for the count of samples

Say = Callable[[str, str], None]


async def run(plan: Plan, say: Say, clock: Clock | None = None) -> Result:
    """Run the plan. `say` hears what is being done, and details of it while it lasts.

    Raises PlanError for a plan that makes no sense, and BenchError for what goes wrong.
    """
    check(plan)
    machine = results.machine()
    async with contextlib.AsyncExitStack() as stack:
        own = None
        if not plan.url:
            say("Starting a hub", "")
            own = await stack.enter_async_context(OwnHub(plan))
        api = await stack.enter_async_context(HubApi(plan.url or (own.url if own else ""), plan.token))
        try:
            within = READY_WITHIN if own else ANSWER_WITHIN  # one that runs already is ready
            await api.until_ready(within, lambda: own is not None and own.ended)
        except BenchError as error:
            raise BenchError(f"{error}\n{own.said()}".strip() if own else str(error)) from error
        bench = Bench(plan, own, api, say, clock or SystemClock())
        found = await bench.run()
    return msgspec.structs.replace(found, machine=machine)


class Bench:
    """One run against a hub that is ready."""

    def __init__(self, plan: Plan, own: OwnHub | None, api: HubApi, say: Say, clock: Clock) -> None:
        self._plan = plan
        self._own = own
        self._api = api
        self._say = say
        self._clock = clock
        self._epoch = secrets.token_hex(8)
        self._start = 0

    async def run(self) -> Result:
        """Everything, in its order."""
        plan = self._plan
        if not (await self._api.hub())["auto_accept"]:
            raise BenchError("the hub accepts new robots only by hand: set fleet.auto_accept for the benchmark")
        broker = self._own.broker if self._own else plan.broker
        assert broker  # noqa: S101 - `check` has seen to it
        self._start = self._clock.now() - int(plan.outage * 1e6) - MARGIN
        url = self._own.url if self._own else plan.url or ""
        watched = [plan.robot(number) for number in range(0, plan.robots, -(-plan.robots // WATCHED))]
        watcher = Watcher(url, plan.token, watched, plan.sets, self._clock)
        async with Generators(plan, broker, self._epoch) as generators:
            watching = asyncio.create_task(watcher.run(), name="bench.watch")
            try:
                return await self._measured(generators, watcher)
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)

    async def _measured(self, generators: Generators, watcher: Watcher) -> Result:
        plan, clock = self._plan, self._clock
        await self._connected(generators, watcher)
        generators.tell("begin")
        watcher.since = clock.now()
        outage = await self._drained(generators, watcher) if plan.outage else None
        await self._warm(generators)
        watcher.took = Durations()
        before = results.snapshot(self._processes(generators))
        begun = await generators.ask("measure", "measuring")
        await self._watch_numbers(generators, plan.seconds)
        ended = await generators.ask("measured", "measured")
        after = results.snapshot(self._processes(generators))
        browser = percentiles(watcher.took.thinned(), watcher.took.count)
        through = _throughput(begun, ended)
        totals, wanted = await self._finish(generators)
        disk = await self._disk(sum(plan.samples(issued) for _, issued, _ in wanted) * plan.channels)
        verified = await self._verify(wanted)
        await self._tidy()
        took = [one for answer in ended for one in answer["took"]]
        return Result(
            version=__version__,
            at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            machine=results.machine(),
            plan=_public(plan),
            store=(plan.store or "sqlite:").partition(":")[0] if self._own else "unknown",
            throughput=through,
            cost=results.costs(before, after, through.seconds, through.messages),
            latency=Latency(
                committed=percentiles(took, sum(answer["count"] for answer in ended)),
                browser=browser,
                generator_late=percentiles(one for answer in ended for one in answer["late"]),
            ),
            outage=outage,
            disk=disk if disk else await self._files(verified.samples),
            verified=verified,
            resent=max(0, totals["sent"] - totals["issued"]),
            reconnects=totals["reconnects"],
            skipped=watcher.skipped,
        )

    # --- the phases

    async def _connected(self, generators: Generators, watcher: Watcher) -> None:
        self._say("Connecting the robots", "")
        deadline = self._clock.monotonic() + CONNECTED_WITHIN + self._plan.robots / 100
        while True:
            totals = self._totals(generators)
            self._say("Connecting the robots", f"{totals['connected']:,} connections")
            if totals["reporting"] and totals["connected"] == totals["links"] and watcher.connected.is_set():
                return
            if self._clock.monotonic() > deadline:
                why = totals["problem"] or watcher.problem or "the generator does not get ready"
                raise BenchError(f"only {totals['connected']} of {totals['links']} connections: {why}")
            await self._clock.sleep(LOOK_EVERY)

    async def _drained(self, generators: Generators, watcher: Watcher) -> Outage:
        plan = self._plan
        messages = int(plan.outage * plan.rate) * plan.robots
        watcher.took = Durations()
        title = f"Draining an outage of {plan.outage:g} s"
        await self._until(
            generators, title, lambda totals: totals["backlog"] == 0 and totals["drained"] is not None,
            lambda totals: f"{totals['backlog']:,} of {messages:,} messages to go",
        )  # fmt: skip
        took = self._totals(generators)["drained"]
        return Outage(
            seconds=plan.outage,
            messages=messages,
            drained_s=round(took, 2),
            times_real_time=round(plan.outage / took, 2),
            browser=percentiles(watcher.took.thinned(), watcher.took.count),
        )

    async def _warm(self, generators: Generators) -> None:
        await self._until(
            generators, "Warming up", lambda totals: totals["met"] == self._plan.robots,
            lambda totals: f"{totals['met']:,} of {self._plan.robots:,} robots acknowledged",
        )  # fmt: skip
        await self._clock.sleep(WARM_UP)

    async def _watch_numbers(self, generators: Generators, seconds: float) -> None:
        began = last = self._clock.monotonic()
        acked = self._totals(generators)["acked"]
        while (now := self._clock.monotonic()) < began + seconds:
            await self._clock.sleep(min(1.0, began + seconds - now))
            totals = self._totals(generators)
            at = self._clock.monotonic()
            rate = (totals["acked"] - acked) / (at - last)
            waiting = totals["issued"] - totals["acked"]
            self._say("Measuring", f"{at - began:.0f} of {seconds:g} s, {rate:,.0f} messages/s, {waiting:,} waiting")
            last, acked = at, totals["acked"]

    async def _finish(self, generators: Generators) -> tuple[dict[str, Any], list[tuple[str, int, int]]]:
        generators.tell("stop")
        unacknowledged: Callable[[dict[str, Any]], int] = lambda totals: totals["issued"] - totals["acked"]  # noqa: E731
        with contextlib.suppress(SilenceError):  # the check then says how much is missing
            await self._until(
                generators, "Waiting for the last acknowledgements", lambda totals: not unacknowledged(totals),
                lambda totals: f"{unacknowledged(totals):,} to go", settle=0.6,
            )  # fmt: skip
        totals = self._totals(generators)
        parts = await generators.ask("close" if self._temporary else "clear", "final")
        return totals, [(robot, issued, acked) for part in parts for robot, issued, acked in part]

    async def _until(
        self,
        generators: Generators,
        title: str,
        done: Callable[[dict[str, Any]], bool],
        detail: Callable[[dict[str, Any]], str],
        settle: float = 0.0,
    ) -> None:
        """Wait, as long as acknowledgements come. Raises SilenceError."""
        await self._clock.sleep(settle)  # until a report is from after what was told
        acked, heard = -1, self._clock.monotonic()
        while not done(totals := self._totals(generators)):
            self._say(title, detail(totals))
            if totals["acked"] != acked:
                acked, heard = totals["acked"], self._clock.monotonic()
            elif self._clock.monotonic() - heard > PATIENCE:
                sentence = f"nothing was acknowledged for {PATIENCE:g} s: {detail(totals)}"
                raise SilenceError(f"{sentence}. {totals['problem']}".strip())
            await self._clock.sleep(LOOK_EVERY)

    async def _disk(self, samples: int) -> Disk | None:
        """As the hub tells it, once nothing waits for compaction; None when it does not tell."""
        self._say("Waiting for the store to compact", "")
        await self._api.compact()
        deadline = self._clock.monotonic() + COMPACTED_WITHIN
        while (store := await self._api.store()) is not None and isinstance(store.get("bytes"), int):
            waiting = (store.get("waiting") or {}).get("messages")
            if waiting and self._clock.monotonic() < deadline:
                self._say("Waiting for the store to compact", f"{waiting:,} messages to go")
                await self._clock.sleep(1.0)
                continue
            each_sample = store.get("bytes_per_sample") if not self._temporary else None
            return Disk(
                bytes=store["bytes"],
                samples=samples,
                bytes_per_sample=round(each_sample or store["bytes"] / max(1, samples), 2),
                source="api",
                compacted=None if waiting is None else not waiting,
            )
        return None

    async def _files(self, samples: int) -> Disk | None:
        """The size of the database's files of an own hub that has ended."""
        if not self._own or (self._plan.store and not self._plan.store.startswith("sqlite")):
            return None
        await self._own.stop()
        size = await asyncio.to_thread(self._own.size)
        if not size:
            return None
        each_sample = round(size / max(1, samples), 2)
        return Disk(bytes=size, samples=samples, bytes_per_sample=each_sample, source="files", compacted=None)

    async def _verify(self, wanted: list[tuple[str, int, int]]) -> Verified:
        """Count every series in the store."""
        names, end = channel_names(self._plan.channels), self._clock.now() + MARGIN
        stored: dict[tuple[str, str], int] = {}
        expected = {(robot, name): self._plan.samples(issued) for robot, issued, _ in wanted for name in names}

        async def count(robot: str, name: str) -> None:
            stored[robot, name] = await self._api.count(robot, name, self._start, end)

        jobs = [functools.partial(count, robot, name) for robot, name in expected]
        await each(jobs, lambda done, of: self._say("Counting what the store holds", f"{done:,} of {of:,} series"))
        wrong = [key for key, samples in expected.items() if stored[key] != samples]
        return Verified(
            messages=sum(issued for _, issued, _ in wanted),
            unacknowledged=sum(issued - acked for _, issued, acked in wanted),
            series=len(expected),
            samples=sum(expected.values()),
            samples_stored=sum(stored.values()),
            wrong=[f"{robot} {name}: {stored[robot, name]} of {expected[robot, name]}" for robot, name in wrong[:10]],
        )

    async def _tidy(self) -> None:
        """Take the robots out of a hub, or a database, that stays."""
        if self._temporary or self._plan.keep:
            return
        robots = [self._plan.robot(number) for number in range(self._plan.robots)]
        jobs = [functools.partial(self._api.remove, robot) for robot in robots]
        await each(jobs, lambda done, of: self._say("Removing the robots", f"{done:,} of {of:,}"))

    # --- helpers

    @property
    def _temporary(self) -> bool:
        """Whether everything goes with the hub."""
        return self._own is not None and self._plan.store is None and self._plan.broker is None

    def _totals(self, generators: Generators) -> dict[str, Any]:
        if self._own and self._own.ended:
            raise BenchError(f"the hub ended by itself\n{self._own.said()}".strip())
        return generators.totals()

    def _processes(self, generators: Generators) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for pid in usage.family(self._own.pid) if self._own else ():
            found.setdefault(usage.role(pid, self._own.pid if self._own else 0), []).append(pid)
        return {**found, "generator": generators.pids, "bench": [os.getpid()]}


class SilenceError(BenchError):
    """Nothing is acknowledged any more."""


def _throughput(begun: list[dict[str, Any]], ended: list[dict[str, Any]]) -> Throughput:
    seconds = sum(end["at"] - begin["at"] for begin, end in zip(begun, ended, strict=True)) / len(begun)
    messages, samples = (
        sum(end[name] - begin[name] for begin, end in zip(begun, ended, strict=True)) for name in ("acked", "samples")
    )
    return Throughput(
        seconds=round(seconds, 3),
        messages=messages,
        samples=samples,
        messages_per_s=round(messages / seconds, 1),
        samples_per_s=round(samples / seconds, 1),
    )


def _public(plan: Plan) -> dict[str, Any]:
    """The plan without what nobody else may see: token, and passwords in addresses."""
    shown: dict[str, Any] = msgspec.to_builtins(plan)
    shown["token"] = None
    for name in ("store", "broker", "url"):
        if text := shown[name]:
            scheme, _, rest = text.partition("://")
            shown[name] = f"{scheme}://{rest.rpartition('@')[2]}"
    return shown
