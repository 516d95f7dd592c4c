"""Metrics with summed states."""
