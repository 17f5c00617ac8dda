"""Where the `graftwork` command begins: the service's own commands are the server's, all others ask a service."""

import sys
from importlib.metadata import entry_points

GROUP = "graftwork.commands"
"""The group of entry points by which a distribution adds commands: each is a function that reads `sys.argv`."""


def main() -> None:
    """Run the command that `sys.argv` names."""
    word = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    for added in entry_points(group=GROUP, name=word):
        added.load()()
        return
    try:
        from graftwork.command.commands import app  # noqa: PLC0415 - what the server runs does without
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "click"):
            raise
        sys.exit('graftwork: the command needs typer: pip install "graftwork[command]"')
    app()


if __name__ == "__main__":
    main()
