"""What every "auto" of a request becomes for a dataset, and which choices the data or a model refuse."""
