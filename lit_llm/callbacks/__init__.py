"""What changes during training."""
