"""The background process of one runtime, started by ``state.launch``."""
