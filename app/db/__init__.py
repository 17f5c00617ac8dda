"""The database: tables (classes end in Row) and sessions; the only truth about jobs, datasets and models."""
