"""`make fuzz`: hostile inputs by the million for all parsers (docs/explanation/fuzzing.md)."""
