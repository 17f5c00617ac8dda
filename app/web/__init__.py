"""The page at `/`, for people: files that a browser runs as they are. All that they show comes from the API."""
