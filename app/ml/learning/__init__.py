"""Measurements and algorithms on features and labels that need no training loop."""
