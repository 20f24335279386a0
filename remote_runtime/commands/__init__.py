"""One module per command. A command returns a value or raises; `cli` prints it and chooses the exit code."""
