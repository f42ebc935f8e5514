#!/usr/bin/python3
"""A host that claims somebody else's address: announces it (gratuitous ARP, or an unsolicited neighbour advertisement) on an
interface of this network namespace every so many ms, until it is ended.

    rogue.py DEV ADDRESS EVERY_MS
"""

import ipaddress
import pathlib
import socket
import struct
import sys
import time

ETH_P_ARP, ETH_P_IPV6 = 0x0806, 0x86DD
OVERRIDE = 0x20000000


def arp(mac, address):
    """RFC 5227, 3: an announcement is a request for the sender's own address."""
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + address + bytes(6) + address
    return b"\xff" * 6 + mac + struct.pack("!H", ETH_P_ARP) + body


def advertisement(mac, address):
    """RFC 4861, 4.4: to all nodes, not solicited, overriding what they know."""
    target = ipaddress.ip_address("ff02::1").packed
    body = struct.pack("!BBHI", 136, 0, 0, OVERRIDE) + address + b"\x02\x01" + mac
    pseudo = address + target + struct.pack("!II", len(body), 58) + body
    total = sum(struct.unpack(f"!{len(pseudo) // 2}H", pseudo))
    total = (total & 0xFFFF) + (total >> 16)
    total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    body = body[:2] + struct.pack("!H", total) + body[4:]
    header = struct.pack("!IHBB", 0x60000000, len(body), 58, 255) + address + target
    return b"\x33\x33\x00\x00\x00\x01" + mac + struct.pack("!H", ETH_P_IPV6) + header + body


def main():
    dev, address, every_ms = sys.argv[1], ipaddress.ip_address(sys.argv[2]), int(sys.argv[3])
    mac = bytes.fromhex(pathlib.Path(f"/sys/class/net/{dev}/address").read_text().strip().replace(":", ""))
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.bind((dev, 0))
    frame = (arp if address.version == 4 else advertisement)(mac, address.packed)
    while True:
        link.send(frame)
        time.sleep(every_ms / 1000)


main()
