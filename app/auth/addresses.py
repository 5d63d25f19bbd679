"""The address that a client's connections are counted by."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

IPV6_PREFIX_BITS = 64  # one customer of a provider has at least this network (RFC 6177)


def limited_address(text: str) -> str | None:
    """What connections of one address are counted by; None for one that isn't limited.

    Loopback addresses aren't limited: a proxy on this machine, or a test. An IPv6 address, which may be in
    brackets, is counted by its /64 network. A port, which some proxies add, is ignored. Text that is no
    address is counted as it is.
    """
    text = text.strip()
    bare = text[1:].partition("]")[0] if text.startswith("[") else text
    try:
        address: IPv4Address | IPv6Address = ip_address(bare.partition(":")[0] if "." in bare else bare)
    except ValueError:
        try:
            address = ip_address(bare)
        except ValueError:
            return text or None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback:
        return None
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, IPV6_PREFIX_BITS), strict=False))
    return str(address)
