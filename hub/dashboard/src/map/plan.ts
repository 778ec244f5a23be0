import Feature from "ol/Feature";
import LineString from "ol/geom/LineString";
import Point from "ol/geom/Point";
import Polygon from "ol/geom/Polygon";
import VectorLayer from "ol/layer/Vector";
import VectorSource from "ol/source/Vector";
import CircleStyle from "ol/style/Circle";
import Fill from "ol/style/Fill";
import type ImageStyle from "ol/style/Image";
import RegularShape from "ol/style/RegularShape";
import Stroke from "ol/style/Stroke";
import Style from "ol/style/Style";
import Text from "ol/style/Text";
import type { Site, Station, Zone } from "../api/hub";
import type { Palette } from "../styles/palette";

const SMALL = '11px system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif';

/** The plan of a site: floor, metre grid, zones, walls and stations. */
export function planLayer(site: Site, palette: Palette): VectorLayer {
  const places = new Set((site.stations ?? []).map(({ name }) => name));
  const features = [
    floor(site, palette),
    ...grid(site, palette),
    ...(site.zones ?? []).map((item) => zone(item, palette, !places.has(item.name))),
    ...roads(site, palette),
    ...(site.walls ?? []).map((line) => wall(line, palette)),
    ...(site.stations ?? []).map((item) => station(item, palette)),
  ];
  // Names give way to each other and to the robots' names.
  return new VectorLayer({ source: new VectorSource({ features }), declutter: true });
}

function styled(geometry: Polygon | LineString | Point, style: Style): Feature {
  const feature = new Feature(geometry);
  feature.setStyle(style);
  return feature;
}

function floor({ width, height }: Site, palette: Palette): Feature {
  const corners = [[0, 0], [width, 0], [width, height], [0, height], [0, 0]]; // prettier-ignore
  return styled(new Polygon([corners]), new Style({ fill: new Fill({ color: palette["map-floor"] }), zIndex: 0 }));
}

function grid({ width, height }: Site, palette: Palette): Feature[] {
  const step = [1, 5, 10, 50, 100].find((metres) => Math.max(width, height) / metres <= 24) ?? 500;
  const style = new Style({ stroke: new Stroke({ color: palette["map-grid"], width: 1 }), zIndex: 1 });
  const lines: Feature[] = [];
  for (let x = step; x < width; x += step) lines.push(styled(new LineString([[x, 0], [x, height]]), style)); // prettier-ignore
  for (let y = step; y < height; y += step) lines.push(styled(new LineString([[0, y], [width, y]]), style)); // prettier-ignore
  return lines;
}

/** `named` unless a station inside has the same name, which would stand there twice. */
function zone({ name, kind, polygon }: Zone, palette: Palette, named: boolean): Feature {
  const fills = {
    area: palette["map-area"],
    rack: palette["map-rack"],
    keepout: palette["bad-soft"],
    dock: palette["warn-soft"],
  };
  const edges = { area: palette["map-area"], rack: palette.line, keepout: palette.bad, dock: palette.warn };
  const dashed = kind === "keepout" || kind === "dock" ? [5, 4] : [];
  const style = new Style({
    fill: new Fill({ color: fills[kind] }),
    stroke: new Stroke({ color: edges[kind], width: 1, lineDash: dashed }),
    text: new Text({ text: named ? name : "", font: SMALL, fill: new Fill({ color: palette.muted }), offsetY: -10 }),
    zIndex: 2,
  });
  return styled(new Polygon([[...polygon, ...polygon.slice(0, 1)]]), style);
}

/** The ways between stations that robots take. */
function roads({ roads, stations }: Site, palette: Palette): Feature[] {
  const places = new Map(stations.map(({ name, x, y }) => [name, [x, y]]));
  const style = new Style({
    stroke: new Stroke({ color: palette["map-grid"], width: 6, lineCap: "round" }),
    zIndex: 2,
  });
  return (roads ?? []).flatMap(([from, to]) => {
    const start = places.get(from);
    const end = places.get(to);
    return start && end ? [styled(new LineString([start, end]), style)] : [];
  });
}

function wall(line: readonly [number, number][], palette: Palette): Feature {
  const stroke = new Stroke({ color: palette["map-wall"], width: 3, lineCap: "round", lineJoin: "round" });
  return styled(new LineString([...line]), new Style({ stroke, zIndex: 3 }));
}

/** Finer than so many metres a pixel, waypoints have their names too; there are too many of them for a whole plan. */
const NAMED_WAYPOINTS = 0.045;

function station({ name, kind, x, y }: Station, palette: Palette): Feature {
  const image = sign(kind, palette);
  const text = new Text({ text: name, font: SMALL, offsetY: 13, fill: new Fill({ color: palette.muted }) });
  const named = new Style({ image, text, zIndex: 4 });
  const bare = new Style({ image, zIndex: 4 });
  const feature = new Feature(new Point([x, y]));
  feature.setStyle((_, resolution) => (kind !== "waypoint" || resolution < NAMED_WAYPOINTS ? named : bare));
  return feature;
}

function sign(kind: Station["kind"], palette: Palette): ImageStyle {
  const fill = new Fill({ color: palette.surface });
  const stroke = new Stroke({ color: palette.muted, width: 1.5 });
  const declutterMode = "none";
  switch (kind) {
    case "dock":
      return new RegularShape({ points: 4, radius: 6, angle: Math.PI / 4, fill, stroke, declutterMode });
    case "door":
    case "lift":
      return new RegularShape({ points: 4, radius: 6, fill, stroke, declutterMode });
    case "waypoint":
      return new CircleStyle({ radius: 2.5, fill: new Fill({ color: palette["map-wall"] }), declutterMode });
    case "station":
      return new CircleStyle({ radius: 4, fill, stroke, declutterMode });
  }
}
