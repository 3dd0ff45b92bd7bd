"""The zygote and the shim: programs that nobody imports.

Every import below this room is inherited by each shim; `tests/unit/test_shim_closure.py` lists what is allowed.
"""
