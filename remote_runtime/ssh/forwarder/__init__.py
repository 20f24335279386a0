"""The fast engine: an event loop on paramiko's connection that moves the forwarded bytes itself.

paramiko keeps the key exchange, the login, the renewal of keys and its own channels. Its packet layer is replaced by
ours (``hook``), which runs the loop, so that one thread moves all connections, without a queue or a thread for each.
"""
