"""Instant heads: models of heads that a request fits on a loaded backbone, and answers with, without a job."""
