"""API keys, their projects and their scopes."""
