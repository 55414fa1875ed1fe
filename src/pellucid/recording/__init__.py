"""The flight recorder: what was seen of processes, kept in a file of bounded size, and the same looks again, at the past."""
