"""Turns requests into commands. Every violation in a request is reported, not only the first."""
