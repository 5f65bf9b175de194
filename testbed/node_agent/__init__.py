"""A small kubelet: it runs a pod's command as a process of this machine, in the pod's address."""
