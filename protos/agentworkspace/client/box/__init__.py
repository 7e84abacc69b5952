"""The box runner: any command in any language becomes a well-behaved box, from its environment."""
