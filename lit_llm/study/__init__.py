"""Studies: stages, variants and seeds from one YAML, planned, run and remembered."""
