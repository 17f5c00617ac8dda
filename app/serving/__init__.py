"""Keeps models in memory for predictions. No HTTP, no SQL, and no torch before the first model is loaded."""
