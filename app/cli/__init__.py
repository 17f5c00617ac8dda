"""The `graftwork` command."""
