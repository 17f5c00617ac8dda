"""Models: the registry of what jobs have made; versions, aliases, lineage and files."""
