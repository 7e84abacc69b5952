"""The wire side of the registry: parse, call one command, render. Nothing is decided here."""
