"""remote-runtime: Google Colab on your own machine in the cloud, with one command."""

__version__ = "0.1.0"
