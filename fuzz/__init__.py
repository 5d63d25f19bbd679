"""`make fuzz`: hostile inputs by the million for all that reads what others wrote (docs/fuzzing.md)."""
