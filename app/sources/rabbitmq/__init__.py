"""RabbitMQ: source, dead letters, DLQ reader."""
