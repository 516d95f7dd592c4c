"""Pure loss functions: each returns a sum and a count."""
