/** UCUM codes as people write them; compound codes are put together from these by `unitLabel`. */
const ATOMS: Record<string, string> = {
  "%": "%",
  Cel: "°C",
  "[degF]": "°F",
  K: "K",
  deg: "°",
  "'": "′",
  "dB[mW]": "dBm",
  "dB{mW}": "dBm",
  "B[mW]": "Bm",
  dB: "dB",
  Ohm: "Ω",
  mOhm: "mΩ",
  kOhm: "kΩ",
  um: "µm",
  us: "µs",
  uA: "µA",
  ug: "µg",
  uT: "µT",
  Torr: "Torr",
  "{rpm}": "rpm",
  "{count}": "",
  By: "B",
  KiBy: "KiB",
  MiBy: "MiB",
  GiBy: "GiB",
  kBy: "kB",
  MBy: "MB",
  GBy: "GB",
  "[g]": "g₀",
  "10*-6": "ppm",
  "[ppm]": "ppm",
  mm: "mm",
  "m[H2O]": "mH₂O",
};

const SUPERSCRIPT: Record<string, string> = { "-": "⁻", "0": "⁰", "1": "¹", "2": "²", "3": "³", "4": "⁴" };

/** Label of a UCUM unit; "" for dimensionless. */
export function unitLabel(code: string | null | undefined): string {
  if (!code || code === "1") return "";
  const known = ATOMS[code];
  if (known !== undefined) return known;
  if (/^\{.*\}$/.test(code)) return code.slice(1, -1);
  return code
    .split("/")
    .map((part) => part.split(".").map(atom).join("·"))
    .join("/");
}

function atom(text: string): string {
  const known = ATOMS[text];
  if (known !== undefined) return known;
  const match = /^([A-Za-z%[\]{}']+?)(-?[0-4]+)$/.exec(text);
  if (!match) return text.replace(/[{}]/g, "");
  const [, base = "", power = ""] = match;
  return (ATOMS[base] ?? base) + [...power].map((digit) => SUPERSCRIPT[digit] ?? digit).join("");
}

/** Whether a dimensionless channel is a share from 0 to 1, which people read as percent. */
export function isShare(channel: string, unit: string | null | undefined): boolean {
  return (!unit || unit === "1") && /(^|[._-])(level|soc|progress|ratio|share|load)$/.test(channel);
}

export interface Scale {
  factor: number;
  label: string;
}

/** What to multiply a channel's values by, and which label they then get. */
export function scaleOf(channel: string, unit: string | null | undefined): Scale {
  return isShare(channel, unit) ? { factor: 100, label: "%" } : { factor: 1, label: unitLabel(unit) };
}
