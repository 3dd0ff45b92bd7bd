"""The native API on the wire: `wherry_v1.proto`, the code protoc makes of it, and the way to and from `model`."""
