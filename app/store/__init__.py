"""Postgres: the models, the batch writer, and the queries by subject."""
