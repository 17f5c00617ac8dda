"""Which rows train, validate and test, and which rows are on both sides of a comparison."""
