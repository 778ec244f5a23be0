"""Asking a running hub over its API, as the commands do."""

from typing import Annotated, Any, NoReturn

import httpx
import typer

from botyard.cli.console import complain

UrlOption = Annotated[str, typer.Option("--url", envvar="BOTYARD_URL", help="Address of the hub.")]
TokenOption = Annotated[
    str | None, typer.Option("--token", envvar="BOTYARD_TOKEN", help="Access token, needed from another machine.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
DEFAULT_URL = "http://127.0.0.1:8080"


def ask(
    method: str,
    url: str,
    token: str | None,
    path: str,
    query: dict[str, Any] | None = None,
    *,
    body: dict[str, Any] | None = None,
    within: float = 10,
) -> bytes:
    """What the hub answers, within so many seconds. Says what is wrong and ends the command when it refuses."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    address = f"{url.rstrip('/')}/api/v1/{path}"
    try:
        answer = httpx.request(method, address, params=query, json=body, headers=headers, timeout=within)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        fail(f"no answer from the hub at {url}: {error}; is it running? Start it with `botyard hub`")
    if answer.is_error:
        try:
            detail = answer.json()["detail"]
        except (ValueError, KeyError):
            detail = f"HTTP status {answer.status_code}"
        fail(f"the hub refuses: {detail}")
    return answer.content


def fail(sentence: str) -> NoReturn:
    """Say what is wrong and end the command."""
    complain(sentence)
    raise typer.Exit(1)
