"""The only room that goes round and waits: ports, loop, board."""
