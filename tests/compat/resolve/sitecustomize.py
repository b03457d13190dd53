"""Lets Python clients reach the names of the test server without touching /etc/hosts.

Python imports this module by itself when its folder is on PYTHONPATH. Every name under
`.localhost` and `.scality.test` becomes the loopback address; all other names are left alone.
"""

import socket

_system = socket.getaddrinfo


def _getaddrinfo(host, *rest, **named):
    name = host.decode() if isinstance(host, bytes) else host
    if isinstance(name, str) and name.endswith((".localhost", ".scality.test")):
        host = "127.0.0.1"
    return _system(host, *rest, **named)


socket.getaddrinfo = _getaddrinfo
