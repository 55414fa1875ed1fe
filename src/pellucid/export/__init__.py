"""Values to bytes, one format a file."""
