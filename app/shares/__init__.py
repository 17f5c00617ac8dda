"""Who may hold how much of an API process at a time: requests, streams, bytes of bodies, and turns of computing."""
