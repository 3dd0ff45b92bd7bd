"""The supervisor in the caller's own event loop, without a daemon."""
