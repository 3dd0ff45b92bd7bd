"""The `wherry` command. It reaches the daemon only through `wherry.client`."""
