"""Backbones ranked by how well a target follows from their features."""
