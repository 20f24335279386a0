"""The background process of one runtime, begun by ``spawning``."""
