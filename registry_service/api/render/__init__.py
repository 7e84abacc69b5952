"""Turns results into responses. No decision is taken here, and no secret is added."""
