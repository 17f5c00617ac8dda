"""Where the `graftwork` command begins: the service's own commands are the server's, all others ask a service."""

import sys
from importlib.metadata import entry_points
from typing import Any

GROUP = "graftwork.commands"
"""The group of entry points by which the server adds its commands: its `server` is an application of typer's."""

MOVED = ("keys", "storage")  # these ask the service; the server's of the same names work on its database


def main() -> None:
    """Run the command that `sys.argv` names."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    word = words[0] if words else ""
    if word in MOVED and any(option.partition("=")[0] == "--data" for option in sys.argv):
        sys.exit(f"graftwork: `graftwork {word}` asks a service; `graftwork server {word}` works on a folder (--data)")
    try:
        from graftwork.command.commands import app  # noqa: PLC0415 - typer may be missing
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "click"):
            raise
        sys.exit('graftwork: the command needs typer: pip install "graftwork[command]"')
    if word not in names(app):  # one of the server's, or help and completion, which know of all
        for added in entry_points(group=GROUP, name="server"):
            server = added.load()
            if word in names(server):
                server()
                return
            app.add_typer(server)
    app()


def names(app: Any) -> set[str]:
    """Return the first words of the commands of an application."""
    words = {command.name or command.callback.__name__ for command in app.registered_commands}
    for group in app.registered_groups:
        words |= {group.name} if group.name else names(group.typer_instance)
    return words


if __name__ == "__main__":
    main()
