"""Requests to commands. Every violation of a request is reported, not only the first."""
