"""Moves a stopped VM to another zone: snapshots of its disks, and the same instance there."""
