"""The live side of one node: connections, their index by user, their clock, and the way to other nodes."""
