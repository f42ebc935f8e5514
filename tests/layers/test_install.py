"""tests/install derives the backports source from whatever sources the machine has."""

import pathlib
import subprocess

INSTALL = pathlib.Path(__file__).resolve().parents[1] / "install"


def stanza(folder, codename="bookworm"):
    run = subprocess.run([INSTALL, "backports-stanza", folder, codename], capture_output=True, text=True)
    return run.stdout if run.returncode == 0 else None


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_deb822(tmp_path):
    write(
        tmp_path,
        "sources.list.d/debian.sources",
        "# a comment\nTypes: deb deb-src\nURIs: http://security.example/debian-security\nSuites: bookworm-security\n"
        "Components: main\n\n"
        "Enabled: no\nTypes: deb\nURIs: http://off.example/debian\nSuites: bookworm\nComponents: main\n\n"
        "Types: deb\n# another\nURIs:\n http://mirror.example/debian\nSuites: bookworm bookworm-updates\n"
        "Components: main contrib\nSigned-By: /usr/share/keyrings/k.gpg\n",
    )
    assert stanza(tmp_path) == (
        "sources\nTypes: deb\nSuites: bookworm-backports\nComponents: main\nURIs:\n http://mirror.example/debian\n"
        "Signed-By: /usr/share/keyrings/k.gpg\n"
    )


def test_one_line(tmp_path):
    write(
        tmp_path,
        "sources.list",
        "# deb cdrom:[x]/ bookworm main\ndeb-src http://mirror.example/debian bookworm main\n"
        "deb http://security.example/debian-security bookworm-security main\n"
        "deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian/ bookworm main non-free-firmware\n",
    )
    assert stanza(tmp_path) == (
        "list\ndeb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian/ bookworm-backports main\n"
    )


def test_a_file_below_sources_list_d(tmp_path):
    write(tmp_path, "sources.list", "")
    write(tmp_path, "sources.list.d/base.list", "deb http://mirror.example/debian bookworm main\n")
    assert stanza(tmp_path) == "list\ndeb http://mirror.example/debian bookworm-backports main\n"


def test_nothing_to_derive_it_from(tmp_path):
    write(tmp_path, "sources.list", "deb http://mirror.example/debian trixie main\n")
    assert stanza(tmp_path) is None
