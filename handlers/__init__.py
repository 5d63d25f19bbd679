"""What each event type means: one small class an event type, all of them listed in `registry.py`."""
