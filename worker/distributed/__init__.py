"""A training on several devices: its leader and the processes of the other ranks."""
