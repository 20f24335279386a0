"""Text on the terminal: the only package that prints. stdout is the answer, stderr is progress and errors."""
