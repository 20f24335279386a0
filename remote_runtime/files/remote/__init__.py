"""Runs on the machine, and reads and writes files on this computer too. Standard library, Python 3.8 or newer."""
