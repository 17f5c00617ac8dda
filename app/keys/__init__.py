"""API keys: which exist, the project that each belongs to, and what each may do."""
