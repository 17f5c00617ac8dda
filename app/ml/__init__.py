"""Learning, pure: torch and pydantic; no HTTP, no SQL, no broker."""
