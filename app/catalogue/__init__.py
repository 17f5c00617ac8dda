"""The catalogue: what can be chosen, read from the unions of `app.ml`."""
