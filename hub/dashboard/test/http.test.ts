import { afterEach, describe, expect, it, vi } from "vitest";
import { matches } from "../src/api/events";
import { ApiError, onUnauthorized, queryString, request } from "../src/api/http";

function answer(status: number, body: unknown, type = "application/problem+json") {
  const init = { status, headers: { "Content-Type": type } };
  const fetch = vi.fn(async () => new Response(status === 204 ? null : JSON.stringify(body), init));
  vi.stubGlobal("fetch", fetch);
  return fetch;
}

afterEach(() => vi.unstubAllGlobals());

describe("request", () => {
  it("asks under the API's prefix and returns the answer", async () => {
    const fetch = answer(200, { items: [] }, "application/json");
    expect(await request("GET", "/robots", { query: { group: "a b", limit: 5 } })).toEqual({ items: [] });
    expect(fetch.mock.calls[0]).toMatchObject(["/api/v1/robots?group=a+b&limit=5", { method: "GET" }]);
  });

  it("has nothing to return for an empty answer", async () => {
    answer(204, null);
    expect(await request("DELETE", "/robots/a")).toBeUndefined();
  });

  it("throws the hub's problem, with its sentence and field", async () => {
    answer(422, { title: "Invalid", status: 422, detail: "name: '' is too short", field: "name" });
    const error = await request("PATCH", "/robots/a", { body: {} }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ApiError);
    expect((error as ApiError).message).toBe("name: '' is too short");
    expect((error as ApiError).problem.field).toBe("name");
  });

  it("says that the hub asks for a token, to whoever listens", async () => {
    answer(401, { title: "Unauthorized", status: 401 });
    const listener = vi.fn();
    const stop = onUnauthorized(listener);
    await expect(request("GET", "/hub")).rejects.toThrow("Unauthorized");
    stop();
    await expect(request("GET", "/hub")).rejects.toThrow();
    expect(listener).toHaveBeenCalledOnce();
  });

  it("makes a sentence of a hub that does not answer", async () => {
    vi.stubGlobal("fetch", vi.fn().mockRejectedValue(new TypeError("Failed to fetch")));
    await expect(request("GET", "/hub")).rejects.toMatchObject({ status: 0, message: "The hub does not answer." });
  });

  it("repeats lists and leaves out what is not there", () => {
    expect(queryString({ severity: ["error", "critical"], name: "", robot: null, limit: 0 })).toBe(
      "?severity=error&severity=critical&limit=0",
    );
  });
});

describe("matches", () => {
  const event = {
    id: 1,
    ts: 50,
    robot: "a",
    actor: "robot:a",
    name: "docking.failed",
    severity: "error" as const,
    message: null,
    data: {},
    cause: null,
  };

  it.each([
    [{}, true],
    [{ name: "docking" }, true],
    [{ name: "dock" }, false],
    [{ robot: "b" }, false],
    [{ severity: ["info" as const] }, false],
    [{ severity: [] }, true],
    [{ from: 50, to: 51 }, true],
    [{ to: 50 }, false],
  ])("decides %j as the hub does", (filter, expected) => expect(matches(filter, event)).toBe(expected));
});
