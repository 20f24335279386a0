"""What every program that is sent to the machine uses. Standard library, Python 3.8 or newer."""
