"""A fleet of vLLM servers that is not there: the fleet model answers behind the addresses of the testbed's pods."""
