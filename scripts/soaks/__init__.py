"""Measurements that take minutes or hours."""
