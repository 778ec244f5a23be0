"""What tests of the hub get."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from botyard.store.factory import open_store
from tests.postgres import PostgresServer


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server that all tests of this process share."""
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgres_template(postgres: PostgresServer) -> str:
    """A database that the store has made its tables in."""
    import asyncio

    name = postgres.create()

    async def fill() -> None:
        async with open_store(postgres.url(name)):
            pass

    asyncio.run(fill())
    return name


@pytest.fixture
def postgres_url(postgres: PostgresServer, postgres_template: str) -> Callable[[], str]:
    """Makes a database for a test, with the tables in it, and gives its URL."""
    return lambda: postgres.url(postgres.create(postgres_template))


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings of `running_hub` for a new database, of each kind in turn."""
    return {"store": {"url": request.getfixturevalue("postgres_url")()}} if request.param == "postgres" else {}
