"""The same core against a model of a cluster. It never waits and reads no clock."""
