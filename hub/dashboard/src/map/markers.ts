import Icon from "ol/style/Icon";
import Stroke from "ol/style/Stroke";
import Style from "ol/style/Style";
import Fill from "ol/style/Fill";
import Text from "ol/style/Text";
import type { Tone } from "../components/status";
import type { Palette } from "../styles/palette";

export interface Look {
  tone: Tone;
  oriented: boolean;
  selected: boolean;
}

const FONT = '600 12px system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif';
const SIZE = 44;

/** Styles of robots, made once per look and theme. */
export class Markers {
  #icons = new Map<string, string>();

  constructor(private readonly palette: Palette) {}

  robot(look: Look, rotation: number | null): Style {
    const key = `${look.tone}/${look.oriented}/${look.selected}`;
    let src = this.#icons.get(key);
    if (!src) {
      src = `data:image/svg+xml,${encodeURIComponent(this.#svg(look))}`;
      this.#icons.set(key, src);
    }
    const zIndex = look.selected ? 3 : look.tone === "bad" ? 2 : look.tone === "off" ? 0 : 1;
    return new Style({
      image: new Icon({ src, rotation: rotation ?? 0, rotateWithView: true, declutterMode: "none" }),
      zIndex,
    });
  }

  label(name: string, { tone, selected }: Omit<Look, "oriented">): Style {
    const { text, surface, muted } = this.palette;
    return new Style({
      text: new Text({
        text: name,
        font: FONT,
        offsetY: 20,
        fill: new Fill({ color: selected ? text : muted }),
        stroke: new Stroke({ color: surface, width: 3.5 }),
      }),
      // Where names do not fit, those that matter more stay.
      zIndex: selected ? 2 : tone === "bad" ? 1 : 0,
    });
  }

  trail(tone: Tone): Style {
    return new Style({
      stroke: new Stroke({ color: faded(this.colour(tone)), width: 3, lineCap: "round" }),
      zIndex: 0,
    });
  }

  colour(tone: Tone): string {
    return tone === "off" ? this.palette.muted : this.palette[tone];
  }

  /** A disc or drop: hollow when the robot is away, with a bar when it is in trouble. */
  #svg({ tone, oriented, selected }: Look): string {
    const colour = this.colour(tone);
    const { surface, focus } = this.palette;
    const fill = tone === "off" ? surface : colour;
    const edge = tone === "off" ? colour : surface;
    // With a nose the body is a drop whose tip points up; the rotation turns it.
    const body = oriented
      ? `<path d="M22 4 29.3 16.6A9.4 9.4 0 1 1 14.7 16.6z" stroke-linejoin="round"`
      : tone === "bad"
        ? `<path d="M18.3 13h7.4L31 18.3v7.4L25.7 31h-7.4L13 25.7v-7.4z"`
        : `<circle cx="22" cy="22" r="9"`;
    const halo = selected ? `<circle cx="22" cy="22" r="16" fill="none" stroke="${focus}" stroke-width="2.5"/>` : "";
    const sign = tone === "bad" ? `<path d="M17.5 22h9" stroke="${surface}" stroke-width="2.6"/>` : "";
    return `<svg xmlns="http://www.w3.org/2000/svg" width="${SIZE}" height="${SIZE}" viewBox="0 0 44 44">${halo}${body} fill="${fill}" stroke="${edge}" stroke-width="2"/>${sign}</svg>`;
  }
}

function faded(colour: string): string {
  const parts = /^rgba?\(([^)]+)\)$/.exec(colour)?.[1]?.split(",").slice(0, 3);
  return parts ? `rgba(${parts.join(",")}, 0.35)` : colour;
}
