"""Everything that a request can choose. Each folder is a family; its `__init__` is the union of its kinds."""
