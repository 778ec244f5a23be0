import { describe, expect, it } from "vitest";
import { limitName, limitThen, limitValue, nodeTrouble } from "../src/safety/words";

describe("limits", () => {
  it("are said with the units of people", () => {
    const speed = { value: 1.2, unit: "m/s", on_violation: "clamp" } as const;
    expect([limitName("max_speed"), limitValue("max_speed", speed)]).toEqual(["Speed", "1.2 m/s"]);
    expect(limitThen(speed)).toBe("Commands are cut down to it");
    const said = (key: string, value: number, unit: string) => limitValue(key, { value, unit, on_violation: "safe" });
    expect(said("min_battery", 0.15, "1")).toBe("15 %");
    expect(said("max_angular_speed", Math.PI / 2, "rad/s")).toBe("90°/s");
    expect(said("max_tilt", 0.3490658503988659, "rad")).toBe("20°");
    expect(said("max_acceleration", 0.5, "m/s2")).toBe("0.5 m/s²");
    expect(said("max_temperature", 80, "Cel")).toBe("80 °C");
    expect([said("geofence", 1, "1"), said("keep_out", 2, "1")]).toEqual(["1 area", "2 areas"]);
  });

  it("that this page does not know keep their own name", () => {
    expect(limitName("max_payload")).toBe("max payload");
  });
});

describe("nodes", () => {
  it("tell what kind of end they had, and their own words", () => {
    expect(nodeTrouble({ status: "running", restarts: 0 })).toBe("");
    expect(nodeTrouble({ status: "backoff", restarts: 1, reason: "hang", error: "no sign of life for 30 s" })).toBe(
      "It hung: no sign of life for 30 s",
    );
    expect(nodeTrouble({ status: "failed", restarts: 3, reason: "budget" })).toBe(
      "It failed too often, and is not started again",
    );
  });
});
