const NAMES = [
  "text", "muted", "surface", "line", "focus", "ok", "busy", "warn", "bad", "other",
  "map-ground", "map-floor", "map-wall", "map-rack", "map-area", "map-grid", "warn-soft", "bad-soft",
  "series-1", "series-2", "series-3", "series-4", "series-5", "series-6", "hover",
] as const; // prettier-ignore

export type ColourName = (typeof NAMES)[number];
export type Palette = Record<ColourName, string>;

/** The tokens of the style sheet as colours that a canvas understands, for the theme in use. */
export function readPalette(near: HTMLElement): Palette {
  const probe = document.createElement("span");
  probe.hidden = true;
  near.append(probe);
  const colours = {} as Palette;
  for (const name of NAMES) {
    probe.style.color = `var(--${name})`;
    colours[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return colours;
}
