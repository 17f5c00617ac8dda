"""How good answers are: metrics, their bootstrap intervals, two models compared, and curves. It needs no torch."""
