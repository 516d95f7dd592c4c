"""Tables: what a study's runs found, with how many seeds, as text."""
