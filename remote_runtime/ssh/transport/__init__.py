"""The encrypted SSH connection: version exchange, algorithms, packets, channels."""
