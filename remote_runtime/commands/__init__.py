"""One file a command. Each returns a value or raises; `cli` turns both into output and exit codes."""
