"""Fuzzing guided by coverage: `python -m fuzz --list`, and `make fuzz`."""
