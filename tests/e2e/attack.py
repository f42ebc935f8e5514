#!/usr/bin/python3
"""What somebody on the nodes' own link can do with their datagrams, from the bridge's network namespace: seen frames are sent
again, turned round, changed; made up ones are sent in a peer's name. Nothing is ever sent out of the bridge.

    attack.py NODES COUNT      NODES = name=bridge-port, ... ; COUNT frames of each kind to each node; prints what it sent
"""

import json
import random
import select
import socket
import struct
import sys
import time

PORT, ETHERNET, IPV4, UDP = 7400, 14, 20, 8
DEADLINE = 30


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def is_heartbeat(frame):
    return (
        len(frame) > ETHERNET + IPV4 + UDP
        and frame[12:14] == b"\x08\x00"
        and frame[23] == socket.IPPROTO_UDP
        and frame[36:38] == struct.pack("!H", PORT)
    )


def with_payload(frame, payload):
    """The frame with other bytes behind its UDP header; no UDP checksum, which IPv4 allows."""
    ip = bytearray(frame[ETHERNET : ETHERNET + IPV4])
    ip[2:4] = struct.pack("!H", IPV4 + UDP + len(payload))
    ip[10:12] = b"\0\0"
    ip[10:12] = struct.pack("!H", checksum(bytes(ip)))
    udp = frame[34:38] + struct.pack("!HH", UDP + len(payload), 0)
    return frame[:ETHERNET] + bytes(ip) + udp + payload


def turned_round(frame):
    """As if the receiver had sent it to the sender."""
    ip = frame[14:26] + frame[30:34] + frame[26:30]
    return frame[6:12] + frame[0:6] + frame[12:14] + ip + frame[36:38] + frame[34:36] + frame[38:]


class Port:
    """The bridge's port of one node: what is sent here arrives at the node."""

    def __init__(self, name, dev):
        self.name = name
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.bind((dev, 0))
        self.seen = []  # heartbeats on their way to this node

    def listen(self):
        frame, where = self.socket.recvfrom(2048)
        if where[2] == socket.PACKET_OUTGOING and is_heartbeat(frame):
            self.seen.append(frame)

    def send(self, frame):
        try:
            self.socket.send(frame)
            return 1
        except OSError:  # the queue is full: it is a flood
            return 0


def main():
    ports = [Port(*pair.split("=")) for pair in sys.argv[1].split(",")]
    count, r = int(sys.argv[2]), random.Random(7400)
    end = time.monotonic() + DEADLINE
    while any(len(port.seen) < 30 for port in ports) and time.monotonic() < end:
        for ready in select.select([port.socket for port in ports], [], [], 1)[0]:
            next(port for port in ports if port.socket is ready).listen()
    by_mac = {port.seen[0][0:6]: port for port in ports}
    sent = dict.fromkeys(("replayed", "reflected", "forged", "noise"), 0)
    for i in range(count):
        for port in ports:
            frame = r.choice(port.seen)
            payload = bytearray(frame[ETHERNET + IPV4 + UDP :])
            frame = with_payload(frame, bytes(payload))  # what was seen has a checksum that was still to be computed
            sent["replayed"] += port.send(frame)
            sent["reflected"] += by_mac[frame[6:12]].send(turned_round(frame))
            payload[16:24] = struct.pack("!Q", 1 << 40 | i)  # a counter that is yet to come
            payload[-1] ^= 1 + i % 255
            sent["forged"] += port.send(with_payload(frame, bytes(payload)))
            sent["noise"] += port.send(with_payload(frame, r.randbytes(r.choice([0, 4, 40, 1400]))))
    print(json.dumps(sent))


main()
