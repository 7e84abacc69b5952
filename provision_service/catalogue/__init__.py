"""The catalogue of providers and runtimes: its data, its reader and its rules. Pure Python."""
