"""The benchmark: `python -m bench [NAME ...]`. Ratios and medians of one run, on the machine it runs on."""
