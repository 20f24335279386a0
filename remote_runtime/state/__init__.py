"""What this computer keeps of runtimes: state files, logs, the keeper's launch and its control channel."""
