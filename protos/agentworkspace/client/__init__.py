"""What a program needs to call the services: channels, the client of a box, the verifier."""
