"""Layers that several kinds share."""
