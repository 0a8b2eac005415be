"""How workers on several machines find each other: gloo and NCCL by the network that Ray itself uses.

gloo listens on what the host's name resolves to, which on many systems is the loopback device (Debian writes 127.0.1.1
into /etc/hosts): workers on other machines are then refused. So each is told the interface of its node's address.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from typing import Any

import ray
from ray.train.torch import TorchConfig

ADDRESS_OF = 0x8915  # SIOCGIFADDR


class Group(TorchConfig):
    """A process group of torch's, on the interface that has the node's address."""

    @property
    def backend_cls(self) -> Any:
        """Ray's own set-up, after the interface is chosen."""

        class OnInterface(super().backend_cls):  # type: ignore[misc]
            def on_start(self, worker_group: Any, backend_config: Any) -> None:
                worker_group.execute(choose)
                super().on_start(worker_group, backend_config)

        return OnInterface


def choose() -> None:
    """Name the interface, unless the user did."""
    name = interface(ray.util.get_node_ip_address())
    if name:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", name)


def interface(address: str) -> str:
    """Return the name of the interface with an IPv4 address, "" where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            try:
                found = fcntl.ioctl(asked.fileno(), ADDRESS_OF, struct.pack("256s", name.encode()[:15]))
            except OSError:  # it has no address
                continue
            if socket.inet_ntoa(found[20:24]) == address:
                return name
    return ""
