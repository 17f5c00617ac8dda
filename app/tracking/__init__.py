"""What jobs measured, for programs that keep track of experiments: TensorBoard and MLflow."""
