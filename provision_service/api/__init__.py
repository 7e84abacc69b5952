"""The wire side of provisioning: parse, call one command, render. Nothing is decided here."""
