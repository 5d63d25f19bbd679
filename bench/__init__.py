"""`make bench`: the hub against a naive baseline, Kafka to socket, on the same services in one run."""
