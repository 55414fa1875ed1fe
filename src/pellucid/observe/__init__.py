"""One question a file: what the kernel and the runtimes say of a process, as values of `model`. `snapshot` composes them."""
