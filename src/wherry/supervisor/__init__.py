"""Live containers: exits, journal, recovery. Knows neither gRPC nor protobuf."""
