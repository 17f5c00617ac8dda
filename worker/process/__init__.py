"""Processes: the supervisor, the fork server, trainers, their heartbeats and how they end."""
