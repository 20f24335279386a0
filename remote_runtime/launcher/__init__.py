"""Runs programs of this project on the machine: finds its Python, sends them, checks the replies."""
