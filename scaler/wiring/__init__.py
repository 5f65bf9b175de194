"""The one place that names concrete parts, and joins them for the commands."""
