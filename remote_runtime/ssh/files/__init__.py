"""The files of SSH: ssh_config, known_hosts, and the pinned host keys."""
