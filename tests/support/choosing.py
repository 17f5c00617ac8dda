"""How long jobs of tests may choose among ways of learning: enough on few rows for what is solved for."""

CHOOSING_SECONDS = 1.0
