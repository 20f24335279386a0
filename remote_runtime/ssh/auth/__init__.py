"""SSH authentication: keys, certificates, the agent, and a second factor."""
