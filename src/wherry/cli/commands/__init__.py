"""The commands of `wherry`, one group per file. Each is imported only when it is the one that was typed."""
