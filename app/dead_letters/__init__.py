"""`run.py dlq`: dead letters as a tool, whichever source they are of (docs/dead-letters.md)."""
