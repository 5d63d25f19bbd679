"""What the hub is about: values and rules, without I/O. Imports msgspec and the standard library only."""
