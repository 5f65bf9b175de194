"""A real Kubernetes control plane on one machine, for tests and to look at: pinned modules, no containers."""
