"""The audit of both services: rows in the transaction of the change, and seals that prove them."""
