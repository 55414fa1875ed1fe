"""What the memory of the C library's allocator means: the arenas of malloc(3), chunk by chunk."""
