"""Datasets: what users upload is read, cleaned, split and written in one canonical form."""
