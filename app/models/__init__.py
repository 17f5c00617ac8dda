"""The model registry: versions, aliases, lineage and files of models that jobs made or users imported."""
