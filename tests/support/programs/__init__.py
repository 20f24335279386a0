"""Programs whose output, errors and exit status under `exec` are held against those of ``python -u FILE``."""
