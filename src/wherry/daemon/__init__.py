"""wherryd: wiring, configuration, signals."""
