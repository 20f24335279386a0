"""Resumable byte streams, the same code at both ends: no sockets, no event loop, standard library only, Python 3.8.

A *stream* is one local connection: its bytes in both directions, each with an offset. A *carrier* is one connection
between the two ends that carries frames of any stream. A *session* keeps what the peer has not acknowledged while there
is no carrier, and sends it again on the next one.
"""
