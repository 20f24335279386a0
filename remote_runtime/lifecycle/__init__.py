"""Start a runtime and stop it: the steps, the open resources, the rollback."""
