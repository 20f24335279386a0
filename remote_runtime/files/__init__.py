"""Copies files between this computer and the machine, where an agent reads and writes them."""
