"""Datasets that are registered in place: their files stay in a bucket or a folder that the operator allows."""
