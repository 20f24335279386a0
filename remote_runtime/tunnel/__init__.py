"""The local end of the tunnel: ports, connections, the proof of who answers, and the pulse of the link."""
