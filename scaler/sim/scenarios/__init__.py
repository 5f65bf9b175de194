"""Hard cases by name: what happens in each, what must hold, and how our core met it."""
