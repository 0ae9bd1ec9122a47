"""AT commands over pyserial: each line of stdin is JSON {"send": <latin-1 text>, "until": <text>}, each line of stdout
the answer as JSON text. Opens the port anew for every command when the third argument is "reopen"."""
import json
import sys
import time

import serial

port, flow, reopen = sys.argv[1], sys.argv[2] == "rtscts", sys.argv[3] == "reopen"


def open_port():
    line = serial.Serial(port, 115200, timeout=0.1, rtscts=flow)
    line.reset_output_buffer()
    return line


line = open_port()
for text in sys.stdin:
    wish = json.loads(text)
    if reopen:
        line.close()
        # Long enough that the other side has noticed.
        time.sleep(0.2)
        line = open_port()
    line.reset_input_buffer()
    line.write(wish["send"].encode("latin-1"))
    answer, end = b"", time.time() + 20
    while wish["until"].encode("latin-1") not in answer and time.time() < end:
        answer += line.read(4096)
    print(json.dumps(answer.decode("latin-1")), flush=True)
