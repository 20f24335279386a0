"""An HTTP emulator of the Google APIs that this program uses."""
