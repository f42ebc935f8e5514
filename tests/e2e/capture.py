#!/usr/bin/python3
"""Writes the payloads of what passes TCP or UDP port 7400 on an interface to a file, until it is ended (SIGTERM).

    capture.py DEV FILE
"""

import signal
import socket
import sys

PORT = (7400).to_bytes(2, "big")


def payload(frame):
    """What is behind the TCP or UDP header, if it is the cluster's."""
    kind = frame[12:14]
    if kind == b"\x08\x00":
        at, protocol = 14 + 4 * (frame[14] & 15), frame[23]
        end = 14 + int.from_bytes(frame[16:18], "big")
    elif kind == b"\x86\xdd":
        at, protocol = 54, frame[20]
        end = 54 + int.from_bytes(frame[18:20], "big")
    else:
        return b""
    if PORT not in (frame[at : at + 2], frame[at + 2 : at + 4]):
        return b""
    if protocol == socket.IPPROTO_TCP:
        return frame[at + 4 * (frame[at + 12] >> 4) : end]
    return frame[at + 8 : end] if protocol == socket.IPPROTO_UDP else b""


def main():
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    link.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)  # SO_RCVBUFFORCE
    link.bind((sys.argv[1], 0))
    with open(sys.argv[2], "wb") as file:
        print("listening", flush=True)
        while True:
            file.write(payload(link.recv(65535)))


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # and the file is written
main()
