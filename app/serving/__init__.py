"""Serving, pure: which loaded model answers; no HTTP, no SQL, and no torch before the first model is loaded."""
