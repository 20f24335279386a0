"""What has to be there before a VM is created: APIs, permissions, quota, a network, a way in and a way out."""
