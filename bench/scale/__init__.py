"""Measures a service of many: `python -m bench.scale`."""
