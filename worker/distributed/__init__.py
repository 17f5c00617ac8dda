"""Data-parallel training on several devices: the leader, the programs of the other ranks, their collectives."""
