import { describe, expect, it } from "vitest";
import { ago, dateTime, duration, fromLocalInput, toLocalInput } from "../src/format/time";
import { widthText } from "../src/format/resolution";
import { scaleOf, unitLabel } from "../src/format/units";
import { bytes, geo, number, pose, prettyJson, reading } from "../src/format/values";

const S = 1e6;

describe("times", () => {
  it.each([
    [0, "now"],
    [1.9 * S, "now"],
    [12 * S, "12 s ago"],
    [61 * S, "1 min ago"],
    [3 * 3600 * S, "3 h ago"],
    [50 * 3600 * S, "2 d ago"],
    [-5 * S, "now"],
  ])("says how long ago %s is", (distance, text) => expect(ago(1000 * S, 1000 * S + distance)).toBe(text));

  it("says never of what was not", () => expect(ago(null, 5)).toBe("never"));
  it("rounds durations down", () => expect(duration(59.9 * S)).toBe("59 s"));

  it("goes to an input and back", () => {
    const ts = new Date(2026, 10, 21, 14, 3, 7).getTime() * 1000;
    expect(dateTime(ts)).toBe("2026-11-21 14:03:07");
    expect(fromLocalInput(toLocalInput(ts))).toBe(ts);
    expect(fromLocalInput("")).toBeNull();
    expect(fromLocalInput("nonsense")).toBeNull();
  });
});

describe("units", () => {
  it.each([
    ["Cel", "°C"],
    ["m/s", "m/s"],
    ["V", "V"],
    ["A", "A"],
    ["N", "N"],
    ["N.m", "N·m"],
    ["dB[mW]", "dBm"],
    ["dB{mW}", "dBm"],
    ["1", ""],
    [null, ""],
    ["%", "%"],
    ["m/s2", "m/s²"],
    ["rad/s", "rad/s"],
    ["s-1", "s⁻¹"],
    ["{rpm}", "rpm"],
    ["{widgets}", "widgets"],
    ["deg", "°"],
    ["xyz", "xyz"],
  ])("writes %s as %s", (code, label) => expect(unitLabel(code)).toBe(label));

  it("reads shares as percent, and nothing else", () => {
    expect(scaleOf("battery.level", "1")).toEqual({ factor: 100, label: "%" });
    expect(scaleOf("battery.level", "V")).toEqual({ factor: 1, label: "V" });
    expect(scaleOf("gear", "1")).toEqual({ factor: 1, label: "" });
  });
});

describe("values", () => {
  it.each([
    [0, "0"],
    [41.456, "41.46"],
    [0.12345, "0.123"],
    [1234567, "1,234,567"],
    [123.456, "123.5"],
    [1e9, "1.00e+9"],
    [NaN, "–"],
    [-3, "-3"],
  ])("writes the number %s", (value, text) => expect(number(value)).toBe(text));

  it("writes readings of every type", () => {
    expect(reading("motor.temperature", "number", "Cel", 41.5)).toBe("41.5\u00a0°C");
    expect(reading("battery.level", "number", "1", 0.93)).toBe("93\u00a0%");
    expect(reading("yaw", "number", "deg", 90)).toBe("90°");
    expect(reading("closed", "boolean", null, false)).toBe("false");
    expect(reading("step", "text", null, "driving")).toBe("driving");
    expect(reading("pose", "pose", null, { frame: "f", x: 1, y: 2, yaw: Math.PI / 2 })).toBe("1.00, 2.00 m · 90°");
    expect(reading("camera", "object", null, { a: 1 })).toBe('{"a":1}');
    expect(reading("x", "number", null, null)).toBe("–");
  });

  it("writes places and sizes", () => {
    expect(pose({ x: 1, y: 2, yaw: 0 })).toBe("1.00, 2.00 m · 0°");
    expect(geo({ lat: 47.4, lon: 8.5, alt: 488.2 })).toBe("47.40000, 8.50000 · 488 m");
    expect(bytes(1023)).toBe("1023 B");
    expect(bytes(2048)).toBe("2.0 KiB");
    expect(bytes(38.5 * 2 ** 20)).toBe("39 MiB");
    expect(bytes(2 ** 20 - 1)).toBe("1.0 MiB");
    expect(bytes(3.26 * 2 ** 40)).toBe("3.3 TiB");
  });

  it.each([
    [1e3, "1 ms"],
    [200e3, "200 ms"],
    [2e6, "2 s"],
    [90e6, "90 s"],
    [180e6, "3 min"],
    [7200e6, "2 h"],
    [604_800e6, "7 d"],
  ])("writes a width of %s µs as %s", (us, text) => expect(widthText(us)).toBe(text));

  it("lays JSON out and leaves the rest alone", () => {
    expect(prettyJson('{"a":1}')).toBe('{\n  "a": 1\n}');
    expect(prettyJson('{"a":')).toBe('{"a":');
  });
});
