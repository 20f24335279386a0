"""Compute Engine instances: find, start, stop, describe."""
