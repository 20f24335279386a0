"""The local end of the tunnel: ports, forwarded connections, the server's identity check, and keepalive."""
