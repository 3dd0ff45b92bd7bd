"""The Python client: one interface over two transports, gRPC and in-process."""
