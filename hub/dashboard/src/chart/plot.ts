import uPlot from "uplot";
import type { Span } from "../api/readings";
import { number } from "../format/values";
import type { Palette } from "../styles/palette";
import { lonely, type Cell } from "./column";
import { panning } from "./panning";

export interface PlotLine {
  /** Index of the colour, from 0. */
  colour: number;
  /** Unit's label; lines of one label share an axis. */
  unit: string;
  band: boolean;
  /** Whether every value gets a point; otherwise those do that no line goes through. */
  points: boolean;
}

export interface PlotEvents {
  /** A span was marked by dragging, or the chart was pushed along; microseconds. */
  show(span: Span): void;
  /** The chart was double-clicked. */
  out(): void;
  /** The cursor is at this row of the data, or nowhere. */
  hover(row: number | null): void;
}

export const FONT = '11px system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif';
const HEIGHT = 180;

export const COLOURS = 6;
export const seriesName = (index: number): `series-${1 | 2 | 3 | 4 | 5 | 6}` =>
  `series-${((index % COLOURS) + 1) as 1 | 2 | 3 | 4 | 5 | 6}`;

/** A uPlot chart for these lines. Every line has one series, and two invisible ones around it when it has a band. */
export function makePlot(target: HTMLElement, lines: readonly PlotLine[], palette: Palette, events: PlotEvents): uPlot {
  const units = [...new Set(lines.map(({ unit }) => unit))];
  const series: uPlot.Series[] = [{}];
  const bands: uPlot.Band[] = [];
  for (const line of lines) {
    const stroke = palette[seriesName(line.colour)];
    const scale = scaleName(units.indexOf(line.unit));
    const points: uPlot.Series.Points = {
      show: line.points,
      size: 4,
      fill: stroke,
      filter: line.points ? null : alone,
    };
    series.push({ stroke, width: 1.75, scale, points });
    if (!line.band) continue;
    const edge: uPlot.Series = { scale, stroke: "transparent", width: 0, points: { show: false } };
    series.push(edge, { ...edge });
    bands.push({ series: [series.length - 2, series.length - 1], fill: translucent(stroke) });
  }
  const options: uPlot.Options = {
    width: Math.max(200, target.clientWidth),
    height: HEIGHT,
    series,
    bands,
    legend: { show: false },
    padding: [8, 28, 0, 0],
    scales: { x: { time: true }, ...Object.fromEntries(units.map((_, i) => [scaleName(i), { range: padded }])) },
    axes: [xAxis(palette), ...units.slice(0, 2).map((unit, i) => yAxis(palette, unit, i))],
    cursor: {
      drag: { x: true, y: false, setScale: false },
      sync: { key: "botyard" },
      points: { size: 7 },
      y: false,
      bind: {
        // With Shift the chart is pushed along instead.
        mousedown: (_, __, mark) => (event) => (event.shiftKey ? null : mark(event)),
        dblclick: () => () => {
          events.out();
          return null;
        },
      },
    },
    hooks: {
      setSelect: [(plot) => select(plot, events)],
      setCursor: [(plot) => events.hover(plot.cursor.idx ?? null)],
      ready: [(plot) => panning(plot.over, () => shown(plot), events.show)],
    },
  };
  return new uPlot(options, [[], ...series.slice(1).map(() => [])] as uPlot.AlignedData, target);
}

const shown = ({ scales }: uPlot): Span => ({ from: (scales.x?.min ?? 0) * 1e6, to: (scales.x?.max ?? 0) * 1e6 });

function alone(plot: uPlot, index: number): number[] {
  const [first, last] = plot.series[0]?.idxs ?? [0, -1];
  return lonely(plot.data[index] as readonly Cell[], first, last);
}

const scaleName = (index: number): string => `y${index}`;

function select(plot: uPlot, events: PlotEvents): void {
  const { left, width } = plot.select;
  if (width < 4) return;
  const from = plot.posToVal(left, "x") * 1e6;
  const to = plot.posToVal(left + width, "x") * 1e6;
  plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  events.show({ from: Math.round(from), to: Math.round(to) });
}

/** A range with some air, so that a constant is a line in the middle and noise of a constant is no mountain. */
function padded(_: uPlot, min: number | null, max: number | null): uPlot.Range.MinMax {
  if (min === null || max === null) return [0, 1];
  const size = Math.max(Math.abs(min), Math.abs(max), 1e-9);
  const air = Math.max((max - min) * 0.1, size * 0.005);
  return [min >= 0 && min - air < 0 ? 0 : min - air, max + air];
}

export function xAxis(palette: Palette): uPlot.Axis {
  return {
    stroke: palette.muted,
    font: FONT,
    size: 34,
    space: 64,
    grid: { stroke: palette["map-grid"], width: 1 },
    ticks: { show: false },
    values: [
      // tick distance, format, then what is added at the turn of a year, month, day
      [86_400, "{MMM} {D}", "\n{YYYY}", null, null, null, null, null, 1],
      [60, "{HH}:{mm}", "\n{MMM} {D}", null, "\n{MMM} {D}", null, null, null, 1],
      [0.001, "{HH}:{mm}:{ss}", "\n{MMM} {D}", null, "\n{MMM} {D}", null, null, null, 1],
    ],
  };
}

function yAxis(palette: Palette, unit: string, index: number): uPlot.Axis {
  return {
    scale: scaleName(index),
    side: index === 0 ? 3 : 1,
    stroke: palette.muted,
    font: FONT,
    size: 52,
    gap: 4,
    grid: { show: index === 0, stroke: palette["map-grid"], width: 1 },
    ticks: { show: false },
    values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : number(tick))),
    label: unit || undefined!,
    labelFont: FONT,
    labelSize: unit ? 16 : 0,
    labelGap: 0,
  };
}

export function translucent(colour: string): string {
  const parts = /^rgba?\(([^)]+)\)$/.exec(colour)?.[1]?.split(",").slice(0, 3);
  return parts ? `rgba(${parts.join(",")}, 0.18)` : colour;
}
