"""Outbound webhooks: what the operator's endpoints are told of deliveries and people."""
