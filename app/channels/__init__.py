"""The media that deliveries go out by, behind one interface: one class each."""
