"""Frozen values that every part agrees on: ids, requests, status, events, the lifecycle table. No I/O."""
