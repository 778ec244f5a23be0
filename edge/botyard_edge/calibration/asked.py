"""What the hub may ask of a robot's calibration, as commands like any driver's: judged, executed once, reported on."""

from typing import Any

from botyard_edge.calibration.draft import CalibrationError, read_draft
from botyard_edge.calibration.node import CalibrationNode
from botyard_edge.driver import (
    Capabilities,
    Command,
    CommandRejectedError,
    CommandSpec,
    Driver,
    DriverContext,
    Motion,
    Port,
    Progress,
)

_NAME = {"type": "string", "minLength": 1, "maxLength": 64}


def _args(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


REST = Motion("none")
SET = CommandSpec(
    "calibration.set",
    "Apply a calibration profile as a new version.",
    _args(["profile"], profile={"type": "object"}),
    REST,
)
ROLLBACK = CommandSpec(
    "calibration.rollback",
    "Apply an earlier version of a profile again; version 0 is that of before the first.",
    _args(["name", "version"], name=_NAME, version={"type": "integer", "minimum": 0}),
    REST,
)
REMOVE = CommandSpec("calibration.remove", "Switch a profile off.", _args(["name"], name=_NAME), REST)
HISTORY = CommandSpec(
    "calibration.history", "Send all versions of a profile, or of all profiles, again.", _args([], name=_NAME), REST
)


class Asked(Driver):
    """Executes the hub's commands about the calibration."""

    def __init__(self, context: DriverContext, node: CalibrationNode) -> None:
        super().__init__(context)
        self._node = node

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(commands=(SET, ROLLBACK, REMOVE, HISTORY))

    async def run(self, port: Port) -> None:
        """It only executes."""

    async def execute(self, command: Command, progress: Progress) -> dict[str, Any] | None:
        del progress
        try:
            return await self._done(command)
        except CalibrationError as error:
            raise CommandRejectedError(str(error)) from error

    async def _done(self, command: Command) -> dict[str, Any]:
        node, args = self._node, command.args
        who, cause = f"hub ({command.cause})" if command.cause else "hub", command.id
        if command.name == HISTORY.name:
            return {"versions": node.tell_history(args.get("name"), cause=cause)}
        if command.name == SET.name:
            draft = read_draft(args["profile"], root="args.profile")
            profile = await node.set(draft, who=who, origin="hub", cause=cause)
        elif command.name == ROLLBACK.name:
            profile = await node.rollback(args["name"], args["version"], who=who, origin="hub", cause=cause)
        else:
            profile = await node.remove(args["name"], who=who, origin="hub", cause=cause)
        return {"name": profile.name, "version": profile.version, "hash": node.hash}
