"""Prepared datasets: their description, their rows in memory or on disk, and values decoded alike everywhere."""
