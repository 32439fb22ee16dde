"""Project of the sandbox application."""

__version__ = "1"
