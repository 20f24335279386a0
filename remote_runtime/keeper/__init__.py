"""The background process of one runtime, started as ``python -m remote_runtime.keeper NAME``."""
