"""The bytes in which wherryd asks the zygote for a shim: one packet, one request.

A version byte, then NUL-terminated `key=value` fields; a key may repeat. The zygote imports this file, so it uses no
module at all. `docs/protocol.md` lists the keys.
"""

from __future__ import annotations

VERSION = 1
#: Largest request. A SEQPACKET packet must fit the socket's send buffer, 212992 bytes by default (unix(7)).
MAX_BYTES = 65536
#: Stands for the path of the console socket in `argv`; only the shim knows it.
#: The descriptor by which a runtime that restores a container has the network namespace that its shim has made.
NETWORK_FD = 100
CONSOLE = "@console"
#: Separates the parts of one mount inside its field.
PART = "\x1f"


def format_frame(fields: dict[str, list[str]]) -> bytes:
    """Return `fields` as one request. Raises ValueError for a NUL in a value or a request above MAX_BYTES."""
    parts = [bytes([VERSION])]
    for key, values in fields.items():
        for value in values:
            if "\0" in value:
                raise ValueError(f"a NUL in {key}")
            parts.append(f"{key}={value}\0".encode("utf-8", "surrogateescape"))
    packet = b"".join(parts)
    if len(packet) > MAX_BYTES:
        raise ValueError(f"{len(packet)} bytes, at most {MAX_BYTES} fit a request")
    return packet


def parse_frame(packet: bytes) -> dict[str, list[str]]:
    """Return the fields of a request. Raises ValueError for another version or anything malformed."""
    if packet[:1] != bytes([VERSION]):
        raise ValueError(f"protocol version {packet[:1].hex() or 'missing'}, {VERSION} expected")
    if len(packet) > 1 and not packet.endswith(b"\0"):
        raise ValueError("the request is cut off")
    fields: dict[str, list[str]] = {}
    for item in packet[1:].split(b"\0")[:-1]:
        key, equals, value = item.decode("utf-8", "surrogateescape").partition("=")
        if not equals:
            raise ValueError(f"the field {key!r} has no value")
        fields.setdefault(key, []).append(value)
    return fields
