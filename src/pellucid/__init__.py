"""See inside a running process from outside, and read in plain words what is wrong with it."""

__version__ = "0.1.0"
