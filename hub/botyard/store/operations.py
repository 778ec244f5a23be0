"""Steps of migrations that Tortoise does not know."""

from tortoise.migrations.operations import TortoiseOperation
from tortoise.migrations.schema_editor.base import BaseSchemaEditor
from tortoise.migrations.schema_generator.state import State


class OnPostgres(TortoiseOperation):
    """SQL that runs on PostgreSQL only; other databases note that it was their turn, and models do not change."""

    reversible = False

    def __init__(self, *statements: str) -> None:
        self._statements = statements

    async def database_forward(
        self,
        app_label: str,  # noqa: ARG002 - Tortoise's signature
        old_state: State,  # noqa: ARG002
        new_state: State,  # noqa: ARG002
        state_editor: BaseSchemaEditor | None = None,
    ) -> None:
        """Run the statements."""
        if state_editor is not None and state_editor.DIALECT == "postgres":
            for statement in self._statements:
                await state_editor.client.execute_script(statement)
