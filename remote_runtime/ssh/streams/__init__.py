"""The client's end of resumable streams: connections to Jupyter that outlive the SSH connection."""
