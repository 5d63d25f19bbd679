"""The notification hub. `app/server/app.py` wires it; every other module knows only what stands before it."""

__version__ = "0.1.0"
