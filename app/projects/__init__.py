"""Projects: what each may use, and what administrators see and change of it."""
