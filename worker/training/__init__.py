"""Training: one loop for pretraining and fine-tuning. Pure: it knows tensors and configs, no job, queue or database."""
