"""The services a hub needs, embedded: for `make run` and for the tests, never for production."""
