"""A thin client of the HTTP API; it needs httpx alone."""
