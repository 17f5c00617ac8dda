"""The workers: Celery rings, a supervisor claims jobs, and a trainer process of its own runs each."""
