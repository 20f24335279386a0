"""The version of this package; setup.cfg reads it from here, without an import of the package."""

__version__ = "0.1.0"
