"""The `graftwork` command: what the service does, from a shell. It needs the extra `command` (typer)."""
