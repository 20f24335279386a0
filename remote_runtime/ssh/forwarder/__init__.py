"""Forwards local connections over one SSH connection in one thread, without a queue or a thread for each.

paramiko keeps the key exchange, the login, rekeying and its own channels. Its packet layer is replaced by
``transport.packetizer``, which runs the event loop.
"""
