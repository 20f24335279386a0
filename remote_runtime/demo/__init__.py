"""The demo machine: emulators of Compute Engine's API and of IAP's relay, and an SSH server, on loopback.

Run as ``python -m remote_runtime.demo DIR``. Tests run ``ComputeEmulator`` of ``gcp_api/emulator.py`` in their process.
Nothing here imports the rest of remote_runtime, and nothing of remote_runtime imports this.
"""
