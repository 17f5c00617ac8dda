"""What a fine-tuning leaves open is selected by cross-validation on its labelled train rows."""
