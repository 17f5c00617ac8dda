"""The transfer report: a fine-tuning and its controls, compared on held-out rows, and a verdict on the pretraining."""
