"""One backend for each kind of target: find the machine, connect to it, stop it."""
