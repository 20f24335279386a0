"""Which machine types with GPUs Compute Engine offers, where, at what price, and with what chance to get one."""
