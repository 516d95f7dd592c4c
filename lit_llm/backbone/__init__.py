"""The transformer every objective shares."""
