"""The SSH server of the demo machine."""
