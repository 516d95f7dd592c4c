"""Train language models in several steps, compare the ways, print the table."""
