"""Kafka: source, watchdog, dead letters, DLQ reader."""
