"""Label propagation: a neighbour graph hands labels on to rows without any, and a linear probe learns from both."""
