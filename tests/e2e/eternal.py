#!/usr/bin/python3
"""Lets an address of this network namespace live for ever: sends the kernel its own description of it back, with the
lifetimes changed alone. iproute2 does not know every attribute and would drop those."""

import ipaddress
import socket
import struct
import sys

RTM_NEWADDR, RTM_GETADDR, NLMSG_DONE, NLMSG_ERROR = 20, 22, 3, 2
NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE, NLM_F_DUMP = 1, 4, 0x100, 0x300
IFA_ADDRESS, IFA_LOCAL, IFA_CACHEINFO = 1, 2, 6
FOREVER = 0xFFFFFFFF


def messages(netlink):
    while True:
        data = netlink.recv(1 << 16)
        while data:
            length, kind = struct.unpack_from("=IH", data)
            if kind == NLMSG_DONE:
                return
            yield kind, data[16:length]
            data = data[(length + 3) & ~3 :]


def attributes(data):
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        yield kind, data[4:length]
        data = data[(length + 3) & ~3 :]


def request(kind, flags, body):
    return struct.pack("=IHHII", 16 + len(body), kind, NLM_F_REQUEST | flags, 1, 0) + body


def main():
    wanted = ipaddress.ip_address(sys.argv[1]).packed
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    netlink.bind((0, 0))
    netlink.send(request(RTM_GETADDR, NLM_F_DUMP, bytes(8)))
    found = None
    for kind, body in messages(netlink):
        if kind == RTM_NEWADDR:
            known = dict(attributes(body[8:]))
            if wanted in (known.get(IFA_LOCAL), known.get(IFA_ADDRESS)):
                found = body[:8], known
    if found is None:
        sys.exit(f"{sys.argv[1]} is not there")
    header, known = found
    known[IFA_CACHEINFO] = struct.pack("=IIII", FOREVER, FOREVER, 0, 0)
    body = header
    for kind, value in known.items():
        body += struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)
    netlink.send(request(RTM_NEWADDR, NLM_F_REPLACE | NLM_F_ACK, body))
    answer = netlink.recv(1 << 16)
    error = struct.unpack_from("=i", answer, 16)[0]
    if error:
        sys.exit(f"the kernel refused: {error}")


main()
