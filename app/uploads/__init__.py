"""Uploads in parts: files too large for one request arrive in pieces, each checked, and go on where they broke."""
