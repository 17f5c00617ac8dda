"""Batch predictions: a file or a dataset of any size is answered by a job, block by block."""
