#!/usr/bin/python3
"""The direction of the dependencies, checked: base <- core <- wire <- io, client <- daemon, cli.

Red when
- an #include goes against the direction, or reaches into a layer by a path of its own;
- libcore.a or libwire.a need a symbol that a pure layer has no business with (nm -u against an allow-list);
- the header of a third-party library, or of the system's side of I/O in a pure layer, is included where it may not be;
- a file has a name that says nothing (util, common, misc, helpers);
- a RULE() has no switch in tests/sim/rules.h, or is neither broken alone in tests/sim/broken.txt nor in docs/safety.md's table of
  those that are not noticed, with the reason.
A file above 500 lines is listed, not refused.

    check.py [--top DIR] [--build DIR]      without --build the symbols are not looked at
"""

import argparse
import pathlib
import re
import subprocess
import sys

LAYERS = ("base", "core", "wire", "io", "client", "daemon", "cli")

# What a layer may include from src/, besides itself.
MAY_INCLUDE = {
    "base": set(),
    "core": {"base"},
    "wire": {"base", "core"},
    "io": {"base", "core", "wire"},
    "client": {"base", "core", "wire"},
    "daemon": {"base", "core", "wire", "io"},
    "cli": set(),  # the public library in include/vipd/ and nothing else
}

# Third-party headers: pattern -> (what it is, which files may include it; None: any one file).
THIRD_PARTY = {
    r"uv\.h": ("libuv", re.compile(r"^(io|daemon)/")),
    r"raft\.h|raft/.*": ("libraft", re.compile(r"^(io/consensus[a-z_]*|wire/raft_message)\.[ch]$")),
    r"msgpack.*": ("msgpack-c", re.compile(r"^wire/")),
    r"netlink/.*": ("libnl", None),
    r"sqlite3\.h": ("SQLite", None),
    r"yaml\.h": ("libyaml", None),
    r"cap-ng\.h": ("libcap-ng", None),
    r"seccomp\.h": ("libseccomp", None),
    r"libsmartcols/.*": ("libsmartcols", None),
    r"systemd/sd-journal\.h": ("libsystemd's journal", None),
    r"systemd/sd-daemon\.h": ("libsystemd's readiness", None),
    r"openssl/.*": ("OpenSSL", re.compile(r"^io/(tls|seal)\.c$")),
    r"bpf/(?!bpf_helpers|bpf_endian).*": ("libbpf", re.compile(r"^io/fence[a-z_.]*$")),
}

# Headers by which a pure layer could reach a clock, the disk or the network.
IMPURE = re.compile(
    r"^(unistd|fcntl|poll|signal|pthread|time|sys/(socket|ioctl|stat|mman|time|epoll|uio|random|un|wait|syscall)|"
    r"net/.*|linux/.*|dirent|syslog)\.h$"
)

# What a pure layer may need from libc. No clock, no I/O, no environment; core has no memory of its own either.
LIBC_PURE = {
    "memcpy", "memset", "memcmp", "memmove", "memchr", "memrchr", "memmem",
    "strlen", "strnlen", "strcmp", "strncmp", "strchr", "strrchr", "strspn", "strcspn", "strcpy", "strncpy", "stpcpy",
    "snprintf", "vsnprintf", "qsort", "bsearch", "abort",
    "__ctype_b_loc", "__ctype_tolower_loc", "tolower", "toupper", "strtoul", "strtoull", "strtol", "strtoll",
    "inet_pton", "inet_ntop", "htonl", "htons", "ntohl", "ntohs", "__assert_fail",
}  # fmt: skip
LIBC_MEMORY = {"malloc", "calloc", "realloc", "free", "reallocarray"}
# What the compiler adds: fortified variants of the above, the stack protector, sanitizers, arithmetic (libgcc).
COMPILER = re.compile(
    r"^(__[a-z]+[sdt]i[0-9]|__(asan|ubsan|tsan|msan|lsan|sanitizer|sancov|gcov)_\w+|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|__isoc\d+_\w+|"
    r"__(memcpy|memset|memmove|strcpy|stpcpy|strncpy|snprintf|vsnprintf)_chk)$"
)
SYMBOLS = {
    "core": (LIBC_PURE, ("base",)),
    "wire": (LIBC_PURE | LIBC_MEMORY, ("base", "core")),
}
MSGPACK = re.compile(r"^msgpack_\w+$")

NAMELESS = re.compile(r"(^|_)(utils?|common|misc|helpers?|stuff)(_|\.|$)")
LONG = 500
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]', re.MULTILINE)


def sources(top):
    """The C sources of each layer: (layer, path relative to src/, text)."""
    for layer in LAYERS:
        for path in sorted((top / "src" / layer).rglob("*.[ch]")):
            yield layer, str(path.relative_to(top / "src")), path.read_text(errors="replace")


def include_problems(top):
    third_party = {}
    for layer, name, text in sources(top):
        for form, target in INCLUDE.findall(text):
            first = target.split("/")[0]
            if ".." in target.split("/"):
                yield f'src/{name}: #include "{target}" leaves its layer by a relative path'
            elif first in LAYERS and first != layer and first not in MAY_INCLUDE[layer]:
                yield f'src/{name}: #include "{target}": {layer} may not use {first}'
            elif form == "<" and layer in ("core", "wire") and IMPURE.match(target):
                yield f"src/{name}: #include <{target}>: {layer} is pure"
            elif form == "<" and layer == "core" and target == "stdlib.h" and re.search(r"\b(malloc|calloc|free)\(", text):
                yield f"src/{name}: core has no malloc"
            for pattern, (library, allowed) in THIRD_PARTY.items():
                if form == "<" and re.fullmatch(pattern, target):
                    if allowed is not None and not allowed.match(name):
                        yield f"src/{name}: #include <{target}>: not the place of {library}"
                    elif allowed is None:
                        third_party.setdefault(library, set()).add(name)
    for library, names in sorted(third_party.items()):
        # A .c and the .h of the same noun are one place.
        if len({name.rsplit(".", 1)[0] for name in names}) > 1:
            yield f"{library} is included by more than one file: {', '.join(sorted('src/' + name for name in names))}"


def name_problems(top):
    for folder in ("src", "include", "tests", "cluster-examples"):
        for path in sorted((top / folder).rglob("*")):
            if NAMELESS.search(path.name.lower()) and "__pycache__" not in path.parts:
                yield f"{path.relative_to(top)}: a name that says nothing; call the file after its noun"


RULE = re.compile(r"\bRULE\(([A-Z][A-Z0-9_]*)\)")
NOT_NOTICED = re.compile(r"^Not noticed, and why:$(.*?)(?=^[^|\s])", re.MULTILINE | re.DOTALL)


def rule_problems(top):
    """Each rule can be broken, and it is known what comes of it."""
    switches = top / "tests" / "sim" / "rules.h"
    if not switches.exists():
        return
    known = set(re.findall(r"^\s*X\(([A-Z0-9_]+),", switches.read_text(), re.MULTILINE))
    broken = {line.split()[0] for line in (top / "tests" / "sim" / "broken.txt").read_text().splitlines() if line[:1].isupper()}
    table = NOT_NOTICED.search((top / "docs" / "safety.md").read_text() + "\nend")
    rows = [line for line in (table.group(1) if table else "").splitlines() if line.startswith("| `")]
    explained = {label for row in rows for label in re.findall(r"`([A-Z0-9_]+)`", row.split("|")[1])}
    used = {}
    for path in sorted([*(top / "src").rglob("*.[ch]"), *(top / "tests" / "sim").glob("*.c")]):
        for label in RULE.findall(path.read_text(errors="replace")):
            used.setdefault(label, path.relative_to(top))
    for label, path in sorted(used.items()):
        if label not in known:
            yield f"{path}: RULE({label}): tests/sim/rules.h has no switch for it"
        elif label not in broken and label not in explained:
            yield (f"{path}: RULE({label}): the simulator has to notice when it is broken (tests/sim/broken.txt), or docs/safety.md to "
                   "say in its table of those that are not noticed why not")  # fmt: skip
    for label in sorted((known | explained | {name for names in broken for name in names.split(",")}) - used.keys()):
        yield f"{label}: no RULE() in src/ or tests/sim has that label"
    for label in sorted(broken & explained):
        yield f"docs/safety.md: {label} is noticed, by tests/sim/broken.txt"


def long_files(top):
    for _, name, text in sources(top):
        lines = text.count("\n")
        if lines > LONG:
            yield f"src/{name}: {lines} lines"


def nm(archive, *flags):
    """Symbols of an archive: {name: member}."""
    out = subprocess.run(["nm", *flags, str(archive)], check=True, capture_output=True, text=True).stdout
    found, member = {}, "?"
    for line in out.splitlines():
        if line.endswith(":"):
            member = line[:-1]
        elif line.strip():
            found.setdefault(line.split()[-1], member)
    return found


def symbol_problems(build):
    for layer, (allowed, lower) in SYMBOLS.items():
        archive = build / f"lib{layer}.a"
        if not archive.exists():
            yield f"{archive} is not there: build first"
            continue
        own = set(nm(archive, "--defined-only"))
        for name in lower:
            if (build / f"lib{name}.a").exists():
                own |= set(nm(build / f"lib{name}.a", "--defined-only", "--extern-only"))
        for symbol, member in sorted(nm(archive, "--undefined-only").items()):
            if symbol in own or symbol in allowed or COMPILER.match(symbol):
                continue
            if layer == "wire" and MSGPACK.match(symbol):
                continue
            yield f"lib{layer}.a({member}) needs {symbol}, which {layer} may not use"


def global_problems(build):
    """Writable data of a pure layer would be a global: state that no caller owns."""
    for layer in SYMBOLS:
        archive = build / f"lib{layer}.a"
        if not archive.exists():
            continue
        out = subprocess.run(["nm", "--defined-only", str(archive)], check=True, capture_output=True, text=True).stdout
        member = "?"
        for line in out.splitlines():
            fields = line.split()
            if line.endswith(":"):
                member = line[:-1]
            # .data.rel.ro (constant tables of pointers) is 'd' too, but lies in a section of its own.
            elif len(fields) == 3 and fields[1] in "BbDdC" and not is_constant(archive, member, fields[2]):
                yield f"lib{layer}.a({member}) has the global variable {fields[2]}"


def is_constant(archive, member, symbol):
    out = subprocess.run(["objdump", "-t", str(archive)], check=True, capture_output=True, text=True).stdout
    inside = False
    for line in out.splitlines():
        if line.startswith(f"{member}:"):
            inside = True
        elif re.match(r"^\S+\.o:", line):
            inside = False
        elif inside and line.split()[-1:] == [symbol]:
            return ".data.rel.ro" in line or ".rodata" in line
    return False


def problems(top, build=None):
    found = list(include_problems(top)) + list(name_problems(top)) + list(rule_problems(top))
    if build is not None:
        found += list(symbol_problems(build))
        if (build / "CMakeCache.txt").exists() and "VIPD_SANITIZE:BOOL=ON" not in (build / "CMakeCache.txt").read_text():
            found += list(global_problems(build))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--top", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2])
    parser.add_argument("--build", type=pathlib.Path)
    args = parser.parse_args()
    for line in long_files(args.top):
        print(f"layers: warning: {line}; is it still one noun?")
    found = problems(args.top, args.build)
    for line in found:
        print(f"layers: {line}", file=sys.stderr)
    count = sum(1 for _ in sources(args.top))
    print(f"layers: {len(found)} problems in {count} sources" if found else f"layers: {count} sources in order")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
