"""The HTTP server: composition, sockets, processes."""
