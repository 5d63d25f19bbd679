"""What clients call: one module a resource."""
