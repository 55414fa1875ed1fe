"""What Linux says about a process: memory, mappings, files, sockets, tasks. Knows nothing of any runtime."""
