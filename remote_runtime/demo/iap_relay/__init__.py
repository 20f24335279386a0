"""An emulator of the relay of Identity-Aware Proxy."""
