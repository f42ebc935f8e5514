#!/usr/bin/python3
"""Watches the addresses of the namespace that it runs in: one JSON object a line for each netlink message about one,
{"t": seconds, "what": "add" or "del", "address": ..}. Says "ready" first. Ends with its standard input."""

import ipaddress
import json
import select
import socket
import struct
import sys
import time

RTM_NEWADDR, RTM_DELADDR = 20, 21
RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR = 0x10, 0x100
IFA_ADDRESS, IFA_LOCAL = 1, 2


def attributes(data):
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            return
        yield kind, data[4:length]
        data = data[(length + 3) & ~3 :]


def messages(data):
    while len(data) >= 16:
        length, kind = struct.unpack_from("=IH", data)
        if length < 16:
            return
        if kind in (RTM_NEWADDR, RTM_DELADDR):
            found = dict(attributes(data[16 + 8 : length]))
            packed = found.get(IFA_LOCAL) or found.get(IFA_ADDRESS)
            yield ("add" if kind == RTM_NEWADDR else "del"), str(ipaddress.ip_address(packed))
        data = data[(length + 3) & ~3 :]


def main():
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.bind((0, RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([sock, sys.stdin], [], [])
        if sock in ready:
            for what, address in messages(sock.recv(1 << 16)):
                print(json.dumps({"t": time.monotonic(), "what": what, "address": address}), flush=True)
        elif sys.stdin in ready:
            return


if __name__ == "__main__":
    main()
