"""The commands of run.py, one module each."""
