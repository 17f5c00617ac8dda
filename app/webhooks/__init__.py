"""Webhooks: messages about jobs, datasets, aliases and warnings, signed and sent to receivers of a project."""
