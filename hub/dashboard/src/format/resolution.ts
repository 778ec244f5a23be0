/** "500 ms", "2 s", "5 min", "2 h", "7 d": a width that people chose to be round, in microseconds. */
export function widthText(us: number): string {
  const units: [number, string][] = [
    [86_400e6, "d"],
    [3600e6, "h"],
    [60e6, "min"],
    [1e6, "s"],
    [1e3, "ms"],
  ];
  const [size, name] = units.find(([unit]) => us >= unit && us % unit === 0) ?? [1e3, "ms"];
  return `${Number((us / size).toPrecision(3))} ${name}`;
}
