"""Columns of a table: their roles, their types, and their values as numbers."""
