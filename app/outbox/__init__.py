"""Deliveries: rows claimed, rendered and handed to their channels."""
