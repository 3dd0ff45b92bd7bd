"""OCI bundles: what was asked for, written in the words of the runtime specification (v1.0.2)."""
