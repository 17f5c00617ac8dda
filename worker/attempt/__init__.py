"""One attempt at a job inside its trainer: inputs, checkpoints, reports and every way that it can end."""
