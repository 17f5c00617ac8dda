"""What a training will cost, measured before it is started, and how far such estimates were off."""
