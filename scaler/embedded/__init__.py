"""The simulator's cluster behind the runtime's ports, for the demo."""
