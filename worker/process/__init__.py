"""The processes of a worker: the supervisor, the fork server that trainers come from, and the trainers."""
