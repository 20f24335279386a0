"""Connections that outlive the link: resumable byte streams over connections to the Jupyter server."""
