import uPlot from "uplot";
import { bytes } from "../format/values";
import type { Palette } from "../styles/palette";
import { FONT, translucent, xAxis } from "./plot";

const HEIGHT = 200;
const KIB = 1024;

/** Distances of ticks that are round in KiB, MiB ... */
const STEPS = Array.from({ length: 50 }, (_, power) => 2 ** power).filter((step) => step >= KIB);

/** A uPlot chart of a size over time, with its forecast dashed and the most that fits. */
export function makeSizePlot(target: HTMLElement, palette: Palette): uPlot {
  const stroke = palette["series-1"];
  const none = { show: false };
  return new uPlot(
    {
      width: Math.max(200, target.clientWidth),
      height: HEIGHT,
      legend: none,
      cursor: { show: false },
      padding: [8, 28, 0, 0],
      scales: { x: { time: true }, y: { range: (_, __, most) => [0, Math.max(KIB, (most ?? 0) * 1.08)] } },
      series: [
        {},
        { stroke, width: 1.75, fill: translucent(stroke), points: none },
        { stroke, width: 1.75, dash: [6, 5], points: none },
        { stroke: palette.bad, width: 1.25, dash: [2, 4], points: none },
      ],
      axes: [
        xAxis(palette),
        {
          stroke: palette.muted,
          font: FONT,
          size: 64,
          gap: 6,
          incrs: STEPS,
          grid: { stroke: palette["map-grid"], width: 1 },
          ticks: none,
          values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : bytes(tick))),
        },
      ],
    },
    [[], [], [], []],
    target,
  );
}
