"""The box runner, which makes a well-behaved box of any command, in any language."""
