"""Runs one of the vendor's console programs as it is, but for serial-port discovery: a pty is no USB device.

    on_port.py PORT PROGRAM [ARGUMENT…]
"""

import sys
from importlib.metadata import entry_points

from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

port = ListPortInfo(sys.argv[1])
# The serial number of a development kit, as the programs look for it.
port.hwid = "USB VID:PID=1366:1069 SER=001051200000 LOCATION=1-1:1.0"
list_ports.comports = lambda *_, **__: [port]

program = sys.argv[2]
sys.argv = sys.argv[2:]
(entry,) = entry_points(group="console_scripts", name=program)
sys.exit(entry.load()())
