import { describe, expect, it } from "vitest";
import { parse, robotPath } from "../src/routing/router";

describe("parse", () => {
  it.each([
    ["/", { page: "fleet" }],
    ["", { page: "fleet" }],
    ["/events", { page: "events" }],
    ["/events/", { page: "events" }],
    ["/store", { page: "store" }],
    ["/hub", { page: "hub" }],
    ["/robots/picker-7", { page: "robot", id: "picker-7" }],
    ["/robots/a%20b", { page: "robot", id: "a b" }],
    ["/robots", { page: "missing", path: "/robots" }],
    ["/robots/a/b", { page: "missing", path: "/robots/a/b" }],
    ["/robots/%E0%A4%A", { page: "missing", path: "/robots/%E0%A4%A" }],
    ["/api/docs", { page: "missing", path: "/api/docs" }],
  ])("reads %s", (path, route) => expect(parse(path)).toEqual(route));

  it("finds the robot of a path that was made for it", () => {
    expect(parse(robotPath("a/b %"))).toEqual({ page: "robot", id: "a/b %" });
  });
});
