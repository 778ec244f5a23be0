// A made-up store for the mock hub. `kind` is steady (the usual), early, soon, urgent, or none (an older hub).
const DAY = 86_400e6;
const GIB = 2 ** 30;

const CLASSES = [
  ["telemetry", 182_400_000, 0.86, 30, 20 * GIB],
  ["rollups_minute", 3_040_000, 0.07, 365, null],
  ["rollups_hour", 50_700, 0.012, null, null],
  ["events", 41_250, 0.03, 90, null],
  ["reports", 8_912, 0.006, 90, null],
  ["quarantine", 4, 0.0004, 7, 64 * 2 ** 20],
];

export function storeReport(kind, now) {
  const early = kind === "early";
  const days = early ? 0 : 24;
  const size = early ? 3.2 * 2 ** 20 : 1.21 * GIB;
  const growth = early ? null : 38.5 * 2 ** 20;
  const left = { steady: 61 * GIB, soon: 0.8 * GIB, urgent: 0.12 * GIB }[kind] ?? 61 * GIB;
  const history = [...Array(early ? 1 : days * 4).keys()].map((i) => {
    const ts = now - (early ? 600e6 : days * DAY) + i * (DAY / 4);
    const wave = 1 + 0.004 * Math.sin(i * 1.7);
    return { ts, bytes: Math.round((size - (growth ?? 0) * ((now - ts) / DAY)) * wave) };
  });
  return {
    engine: "sqlite",
    address: "sqlite:///var/lib/botyard/botyard.db",
    bytes: Math.round(size),
    free_bytes: Math.round(left),
    limit_bytes: kind === "steady" ? 40 * GIB : null,
    waiting: { messages: early ? 812 : 12_480, bytes: early ? 262_000 : 4_100_000 },
    classes: CLASSES.map(([name, count, share, keepDays, keepBytes]) => ({
      name,
      count: early && name !== "telemetry" ? 0 : Math.round(early ? 9_000 : count),
      bytes: early && name !== "telemetry" ? 0 : Math.round(size * share),
      oldest: early && name !== "telemetry" ? null : now - (early ? 600e6 : days * DAY),
      newest: early && name !== "telemetry" ? null : now - 2e6,
      keep_days: keepDays,
      keep_bytes: keepBytes,
    })),
    bytes_per_sample: early ? null : 4.6,
    growth_bytes_per_day: growth,
    history,
    full_at: growth === null ? null : now + (left / growth) * DAY,
  };
}
