"""Runs one of the vendor's console programs as it is, but for serial-port discovery: a pty is no USB device.

    on_port.py PORT PROGRAM [ARGUMENT…]

SECTAG_TEST_NAMES="ADDRESS:PORT NAME…" leads these host names there, where the machine's resolver cannot be asked to.
"""

import os
import socket
import sys
from importlib.metadata import entry_points

from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

port = ListPortInfo(sys.argv[1])
# The serial number of a development kit, as the programs look for it.
port.hwid = "USB VID:PID=1366:1069 SER=001051200000 LOCATION=1-1:1.0"
list_ports.comports = lambda *_, **__: [port]

where, *names = os.environ.get("SECTAG_TEST_NAMES", "").split() or [""]
if names:
    address, service = where.rsplit(":", 1)
    looked_up = socket.getaddrinfo

    def getaddrinfo(host, *args, **options):
        return looked_up(*((address, service) if host in names else (host, *args[:1])), *args[1:], **options)

    socket.getaddrinfo = getaddrinfo

program = sys.argv[2]
sys.argv = sys.argv[2:]
(entry,) = entry_points(group="console_scripts", name=program)
sys.exit(entry.load()())
