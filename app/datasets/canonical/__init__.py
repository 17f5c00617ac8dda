"""The canonical form of a prepared dataset: the files that it consists of, and rows read back from them."""
