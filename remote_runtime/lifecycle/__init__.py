"""Bring a runtime up and take it down: the steps, the open resources, the rollback."""
