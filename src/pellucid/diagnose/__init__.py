"""Pure judgement: snapshots in, findings out. Nothing here opens a file, reads a clock or asks the kernel."""
