"""Runs on the machines; standard library only, Python 3.8 or newer."""
