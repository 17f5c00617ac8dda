"""Rows that people label while models learn from them: kept as they come, and learned by instant heads."""
