#!/usr/bin/python3
"""A host that claims somebody else's address: announces it (gratuitous ARP, or an unsolicited neighbour advertisement) on an
interface of this network namespace every so many ms, until it is ended; or with `probes` only asks whether somebody has it, as
before it is taken (an ARP probe, or duplicate address detection).

    rogue.py DEV ADDRESS EVERY_MS [probes]
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


def arp_probe(mac, address):
    """RFC 5227, 1.1: a request from nobody."""
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + bytes(4) + bytes(6) + address
    return b"\xff" * 6 + mac + struct.pack("!H", ETH_P_ARP) + body


def solicitation(mac, address):
    """RFC 4862, 5.4.2: from the unspecified address to the group of those whose address ends so."""
    group = ipaddress.ip_address("ff02::1:ff00:0").packed[:13] + address[13:]
    return icmp(mac, bytes(16), group, b"\x33\x33" + group[12:], struct.pack("!BBHI", 135, 0, 0, 0) + address)


def advertisement(mac, address):
    """RFC 4861, 4.4: to all nodes, not solicited, overriding what they know."""
    target = ipaddress.ip_address("ff02::1").packed
    body = struct.pack("!BBHI", 136, 0, 0, OVERRIDE) + address + b"\x02\x01" + mac
    return icmp(mac, address, target, b"\x33\x33\x00\x00\x00\x01", body)


def icmp(mac, source, target, to, body):
    pseudo = source + target + struct.pack("!II", len(body), 58) + body
    total = sum(struct.unpack(f"!{len(pseudo) // 2}H", pseudo))
    total = (total & 0xFFFF) + (total >> 16)
    total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    body = body[:2] + struct.pack("!H", total) + body[4:]
    header = struct.pack("!IHBB", 0x60000000, len(body), 58, 255) + source + target
    return to + mac + struct.pack("!H", ETH_P_IPV6) + header + body


def main():
    dev, address, every_ms = sys.argv[1], ipaddress.ip_address(sys.argv[2]), int(sys.argv[3])
    mac = bytes.fromhex(pathlib.Path(f"/sys/class/net/{dev}/address").read_text().strip().replace(":", ""))
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.bind((dev, 0))
    kinds = (arp_probe, solicitation) if sys.argv[4:] == ["probes"] else (arp, advertisement)
    frame = kinds[address.version == 6](mac, address.packed)
    while True:
        link.send(frame)
        time.sleep(every_ms / 1000)


main()
