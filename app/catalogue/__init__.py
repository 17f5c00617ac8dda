"""The catalogue: every kind that a job's config can name, read from the unions of `app.ml`."""
