"""The gRPC edge: one adapter per API."""
