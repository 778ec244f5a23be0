import { describe, expect, it } from "vitest";
import type { Command } from "../src/api/commands";
import type { EventView, Robot } from "../src/api/models.gen";
import {
  argumentsOf,
  canBeAsked,
  isOpen,
  newId,
  newsOf,
  progressOf,
  STATUS,
  stopQuestion,
} from "../src/commands/words";

type Progress = Command["status"];

function command(status: Partial<Progress>, args: Command["spec"]["args"] = {}): Command {
  return {
    id: "c",
    robot: "r",
    created: 0,
    actor: "user:loopback",
    spec: { name: "goto", args, expires: 0 },
    status: {
      status: "queued",
      since: 0,
      reason: null,
      progress: null,
      sent: null,
      answered: null,
      late: false,
      ...status,
    },
  };
}

const event = (id: number, robot: string | null, name: string): EventView => ({
  id,
  ts: id,
  robot,
  actor: "hub",
  name,
  severity: "info",
  message: null,
  data: {},
  cause: null,
});

function robot(presence: Robot["status"]["presence"]["status"], registration: Robot["status"]["registration"]): Robot {
  return {
    id: "picker-7",
    created: 0,
    spec: { name: "Otto", type: "t", group: null, tags: [], notes: "" },
    status: {
      registration,
      logical: "idle",
      presence: { status: presence, since: null, reason: null, flapping: false, changes: 0 },
      retired: null,
      last_seen: null,
      clock: null,
      sync: null,
      state: null,
      state_ts: null,
    },
  };
}

describe("commands", () => {
  it("says where each is, with the reason before the meaning of the status", () => {
    expect(progressOf(command({}))).toBe("kept by the hub, and not sent yet");
    expect(progressOf(command({ status: "running", progress: 0.456 }))).toBe("the robot is at it (46 %)");
    expect(progressOf(command({ status: "rejected", reason: "safe mode: tilt" }))).toBe("safe mode: tilt");
    expect(progressOf(command({ status: "succeeded", late: true }))).toContain("after the hub had given it up");
  });

  it("are open until they have ended", () => {
    const open = Object.keys(STATUS).filter((status) => isOpen(command({ status: status as Progress["status"] })));
    expect(open).toEqual(["queued", "sent", "accepted", "running"]);
  });

  it("show their arguments in one line", () => {
    expect(argumentsOf(command({}, { to: "dock", speed: 0.5, via: [1, 2] }))).toBe("to: dock, speed: 0.5, via: [1,2]");
    expect(argumentsOf(command({}))).toBe("");
  });

  it("are read again when the hub tells of one of this robot, and of no other", () => {
    const events = [event(9, "other", "command.sent"), event(8, "r", "robot.online"), event(7, "r", "command.sent")];
    expect(newsOf(events, "r")).toBe(7);
    expect(newsOf([event(10, "r", "command.succeeded"), ...events], "r")).toBe(10);
    expect(newsOf(events, "nobody")).toBe(0);
  });

  it("have ids that the wire contract allows", () => {
    expect(newId("stop", (bytes) => bytes.fill(10))).toBe("stop-0a0a0a0a0a0a0a0a");
  });
});

describe("a stop", () => {
  it("is asked about with what it will do", () => {
    expect(stopQuestion(robot("online", "accepted"))).toBe("Stop Otto now?");
    expect(stopQuestion(robot("offline", "accepted"))).toContain("Otto is not connected");
  });

  it("can be asked only of a robot that takes part", () => {
    expect(canBeAsked(robot("offline", "accepted"))).toBe(true);
    expect(canBeAsked(robot("online", "pending"))).toBe(false);
    expect(canBeAsked(robot("offline", "retired"))).toBe(false);
  });
});
