"""Trained networks: assembled, kept as files, loaded, imported and asked for predictions."""
