"""Who may log in to an instance: SSH keys in metadata, or OS Login."""
