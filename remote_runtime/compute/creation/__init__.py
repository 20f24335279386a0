"""Creates an instance in the first zone that has capacity, and deletes what was created."""
