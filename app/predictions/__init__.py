"""Predictions and embeddings of registered models."""
