"""The ancestor's heart: Process and Container on disk, the driver of the OCI runtime, the way to the zygote."""
