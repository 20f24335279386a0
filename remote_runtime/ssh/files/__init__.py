"""The files of SSH: ssh_config, known_hosts, and our own host keys."""
