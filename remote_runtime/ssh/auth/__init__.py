"""SSH authentication: keys, certificates, the agent, and 2FA codes."""
