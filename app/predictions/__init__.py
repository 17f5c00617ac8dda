"""Predictions, embeddings and generations of registered models."""
