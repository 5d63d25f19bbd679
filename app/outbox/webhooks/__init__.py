"""Outbound webhooks: what the operator's endpoints are notified of deliveries and people."""
