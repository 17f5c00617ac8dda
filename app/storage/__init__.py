"""Storage: what the files are, which rows name them, and which ones nobody needs any more."""
