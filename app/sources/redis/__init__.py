"""Redis: source of Pub/Sub messages and stream entries, dead letters, DLQ reader."""
