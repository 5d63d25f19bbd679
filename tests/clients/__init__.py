"""The clients and publishers of the services that the hub replaces, with their literal requests."""
