"""The layer check goes red on each kind of planted violation, and only then."""

import subprocess
import sys
import pathlib

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import check  # noqa: E402


@pytest.fixture
def tree(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return tmp_path

    write("src/core/lease.c", '#include "base/addr.h"\n#include "core/lease.h"\n#include <string.h>\n')
    write("src/io/store.c", "#include <sqlite3.h>\n")
    write("src/io/loop.c", '#include <uv.h>\n#include "wire/heartbeat.h"\n')
    return write


def test_a_tree_in_order_is_green(tree, tmp_path):
    assert check.problems(tmp_path) == []


@pytest.mark.parametrize(
    "name, text, word",
    [
        ("src/core/a.c", '#include "io/loop.h"\n', "core may not use io"),
        ("src/base/a.h", '# include "core/table.h"\n', "base may not use core"),
        ("src/wire/a.c", '#include "client/client.h"\n', "wire may not use client"),
        ("src/io/a.c", '#include "daemon/config.h"\n', "io may not use daemon"),
        ("src/cli/a.c", '#include "core/table.h"\n', "cli may not use core"),
        ("src/core/a.c", '#include "../io/loop.h"\n', "relative path"),
        ("src/core/a.c", "#include <time.h>\n", "core is pure"),
        ("src/wire/a.c", "#include <sys/socket.h>\n", "wire is pure"),
        ("src/core/a.c", "#include <stdlib.h>\nvoid *f(void);\nvoid *f(void)\n{\n    return malloc(1);\n}\n", "no malloc"),
        ("src/io/other.c", "#include <sqlite3.h>\n", "SQLite is included by more than one file"),
        ("src/core/a.c", "#include <uv.h>\n", "not the place of libuv"),
        ("src/daemon/a.c", "#include <raft.h>\n", "not the place of libraft"),
        ("src/io/a.c", "#include <msgpack.h>\n", "not the place of msgpack-c"),
        ("src/io/net_util.c", "\n", "says nothing"),
        ("src/base/common.h", "\n", "says nothing"),
        ("tests/unit/helpers.c", "\n", "says nothing"),
    ],
)
def test_a_planted_violation_is_found(tree, tmp_path, name, text, word):
    tree(name, text)
    found = check.problems(tmp_path)
    assert len(found) == 1 and word in found[0], found


@pytest.fixture
def ruled(tree, tmp_path):
    """A tree with one rule that is noticed and one that is explained."""
    tree("src/core/lease.c", "int f(void)\n{\n    return RULE(N1) && RULE(L6);\n}\n")
    tree("tests/sim/rules.h", '#define SIM_RULES(X) \\\n    X(N1, "no lease") \\\n    X(L6, "too early")\n')
    tree("tests/sim/broken.txt", "# a comment\nN1   16   1  safety  two holders\nL6,N1   16   1  safety  two holders\n")
    tree("docs/safety.md", "Not noticed, and why:\n\n| rule | |\n|---|---|\n| `L6` | N1 covers for it |\n\nMore.\n| `X9` | |\n")
    return tree


def test_rules_in_order_are_green(ruled, tmp_path):
    assert check.problems(tmp_path) == []


@pytest.mark.parametrize(
    "name, text, word",
    [
        ("src/core/other.c", "int g = RULE(N7);\n", "no switch"),
        ("tests/sim/broken.txt", "L6,N1   16   1  safety  two holders\n", "RULE(N1): the simulator has to notice"),
        ("docs/safety.md", "Not noticed, and why:\n\n| rule | |\n|---|---|\n\nMore about `L6`.\n", "RULE(L6): the simulator has to notice"),
        ("src/core/lease.c", "int f = RULE(N1);\n", "L6: no RULE()"),
        ("tests/sim/broken.txt", "N1 16 1 safety two\nL6 16 1 safety two\n", "L6 is noticed"),
    ],
)
def test_a_rule_that_nothing_is_known_of_is_found(ruled, tmp_path, name, text, word):
    ruled(name, text)
    found = check.problems(tmp_path)
    assert len(found) == 1 and word in found[0], found


def archive(folder, layer, code):
    source = folder / f"{layer}_planted.c"
    source.write_text(code)
    member = source.with_suffix(".o")
    subprocess.run(["cc", "-O2", "-c", "-o", member, source], check=True)
    subprocess.run(["ar", "rc", folder / f"lib{layer}.a", member], check=True)


CLEAN = "#include <string.h>\nint clean_%s(const char *s) { return (int)strlen(s); }\n"


@pytest.fixture
def build(tmp_path):
    for layer in ("base", "core", "wire"):
        archive(tmp_path, layer, CLEAN % layer)
    (tmp_path / "CMakeCache.txt").write_text("VIPD_SANITIZE:BOOL=OFF\n")
    return tmp_path


def test_clean_archives_are_green(build):
    assert check.problems(build, build) == []


@pytest.mark.parametrize(
    "layer, code, word",
    [
        ("core", "#include <time.h>\nlong f(void) { return (long)time(0); }\n", "needs time"),
        ("core", "#include <stdlib.h>\nvoid *f(void) { return malloc(7); }\n", "needs malloc"),
        ("core", "int clean_wire(const char *);\nint f(void) { return clean_wire(\"\"); }\n", "needs clean_wire"),
        ("core", "int counter; int f(void) { return counter++; }\n", "global variable counter"),
        ("wire", "#include <unistd.h>\nint f(void) { return getpid(); }\n", "needs getpid"),
        ("wire", "#include <stdio.h>\nint f(void) { return puts(\"x\"); }\n", "needs puts"),
        ("wire", "static int seen; int f(void) { return ++seen; }\n", "global variable seen"),
    ],
)
def test_a_planted_symbol_is_found(build, layer, code, word):
    archive(build, layer, code)
    found = check.problems(build, build)
    assert len(found) == 1 and word in found[0], found


def test_an_archive_that_was_not_built_is_not_passed_over(build):
    (build / "libcore.a").unlink()
    assert any("build first" in line for line in check.problems(build, build))


def test_constant_tables_are_no_globals(build):
    archive(build, "core", 'const char *const names[] = {"a", "b"};\nint clean_core(const char *s) { return *s; }\n')
    assert check.problems(build, build) == []


def test_long_files_are_only_listed(tree, tmp_path):
    tree("src/io/long.c", "\n" * (check.LONG + 1))
    assert check.problems(tmp_path) == [] and len(list(check.long_files(tmp_path))) == 1
