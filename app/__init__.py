"""`app/server/bootstrap.py` wires the hub; other modules know only what stands before them."""

__version__ = "0.2.0"
