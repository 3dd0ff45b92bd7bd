"""The kernel, one topic per file. Raises OSError with the file name, nothing else."""
