"""Why an instance does not answer: firewall rules, serial console, metadata."""
