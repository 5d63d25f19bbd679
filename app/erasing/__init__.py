"""`run.py erase`: all that the hub knows of one person is found and removed (docs/erase.md)."""
