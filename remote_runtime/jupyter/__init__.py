"""Jupyter on the machine: started there, asked through the local port, extended here."""
