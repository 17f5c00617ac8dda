"""Many rows answered by one model: block by block, with every row in the results once, by its number."""
