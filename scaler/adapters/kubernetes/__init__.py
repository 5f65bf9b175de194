"""The Kubernetes API: what is there as the core's values, and the core's plans as what should be there.

One client speaks to the API server (client); informers keep what the ticks read (informer); cluster puts it together.
"""
