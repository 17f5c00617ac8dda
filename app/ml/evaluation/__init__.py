"""How good answers are: metrics, their bootstrap intervals, comparisons of two models, and curves. numpy alone."""
