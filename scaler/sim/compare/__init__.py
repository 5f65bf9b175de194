"""The comparison: which traffic is run under which policies, what comes of it, and whether that is enough."""
