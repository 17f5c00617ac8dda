"""The HTTP service: what users reach, and the pure learning code that it shares with the workers."""
