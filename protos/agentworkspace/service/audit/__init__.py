"""The audit: a row for each change, written in its transaction, and seals that prove the rows.

Seals form a chain of digests. Each covers the rows that follow those of the seal before it; its
text in the log, a checkpoint, later shows whether the database still holds the same.
"""
