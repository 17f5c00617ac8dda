"""Storage: the files of the service, the rows that name them, and garbage collection."""
