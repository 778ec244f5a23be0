"""What the console script calls. It exists in every install, also in one without the hub's packages."""

import sys


def main() -> None:
    """Run the command line, or say what to install."""
    try:
        from botyard.cli.main import build_app
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in ("botyard", "botyard_schemas"):
            raise
        print(
            f"botyard: the module {error.name!r} is not installed; the hub needs: pip install 'botyard[hub]'",
            file=sys.stderr,
        )
        sys.exit(1)
    build_app()()


if __name__ == "__main__":
    main()
