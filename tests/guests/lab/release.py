"""Which Debian the guests and their QEMU come from: this machine's own, or another release.

The kernel, the agent and QEMU of a release belong together. Another release's are unpacked into a
folder of their own and run from there: nothing is installed, nothing is mounted, nobody is root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.guests.lab.errors import LabUnavailable

# A codename, or "other": the one of `HOMES` that this machine is not.
VARIABLE = "FROSTWATCH_LAB_RELEASE"
# The releases that the product is at home on: Debian 13 and Debian 12.
HOMES = ("trixie", "bookworm")

_KEPT_FOR_S = 30 * 24 * 3600.0
_ROOT = Path(__file__).parents[3]
_SBIN = "/usr/sbin:/sbin"
_KEYRING = "debian-archive-keyring"


@dataclass(frozen=True)
class Release:
    """One Debian release.

    Attributes:
        codename: such as "trixie"; empty on a machine that does not say.
        own: it is this machine's.
    """

    codename: str
    own: bool

    @property
    def folder(self) -> Path:
        """Where the lab keeps what it has of this release."""
        return cache_directory() if self.own else cache_directory() / "releases" / self.codename


@dataclass(frozen=True)
class Apt:
    """The apt of one release.

    Attributes:
        folder: holds its configuration and lists; None for the machine's own, which is in /etc.
    """

    folder: Path | None = None

    def run(self, command: list[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run one of apt's tools with untranslated messages."""
        more = {} if self.folder is None else {"APT_CONFIG": str(self.folder / "apt.conf")}
        return run(command, cwd, more)


def wanted(codename: str | None = None) -> Release:
    """The release to boot: the one named, or the environment's, or this machine's own."""
    asked = codename or os.environ.get(VARIABLE) or ""
    own = own_codename()
    if asked == "other":
        asked = next(home for home in HOMES if home != own)
    return Release(asked or own, asked in ("", own))


def own_codename() -> str:
    """The codename of the Debian that this machine runs; empty if it does not say."""
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except OSError:
        return ""
    values = dict(line.partition("=")[::2] for line in lines)
    return values.get("VERSION_CODENAME", "").strip("\"'")


def cache_directory() -> Path:
    """Where the lab keeps packages and images; beside the code where home can't be written."""
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    cache = Path(home) / "frostwatch" / "lab"
    there = next(folder for folder in (cache, *cache.parents, Path()) if folder.exists())
    return cache if os.access(there, os.W_OK) else _ROOT / ".venv" / "lab"


def keep(directory: Path, seconds: float = _KEPT_FOR_S) -> None:
    """Mark a built directory as used now, and remove those beside it that were not for a month.

    Args:
        directory: the one that was built.
        seconds: another time than a month.
    """
    os.utime(directory)
    for other in directory.parent.iterdir():
        with suppress(OSError):  # somebody else removes it
            if other != directory and time.time() - other.stat().st_mtime > seconds:
                shutil.rmtree(other, ignore_errors=True)


def apt_of(release: Release) -> Apt:
    """The apt of a release; another's gets its folder, and brings its lists.

    Raises:
        LabUnavailable: this machine's apt knows no Debian mirror, or it can't be reached.
    """
    if release.own:
        return Apt()
    apt = Apt(release.folder / "apt")
    assert apt.folder is not None
    _write_configuration(release.codename, apt.folder)
    done = apt.run(["apt-get", "-q", "update", "--error-on=any"])
    if done.returncode != 0:
        raise LabUnavailable(
            f"apt can't bring the package lists of Debian's {release.codename}; "
            f"it said: {tail(done.stderr)}"
        )
    return apt


def _write_configuration(codename: str, folder: Path) -> None:
    """Write what apt needs in a folder of its own, as if nothing were installed."""
    for part in ("state/lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(f"deb {_mirror()} {codename} main\n")
    settings = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::trusted": _keyring(folder),
        "Dir::Etc::trustedparts": "/dev/null",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        # The machine's own settings are read after these; what it says on fetching is kept below.
        "Dir::Etc::main": "/dev/null",
        "Dir::Etc::parts": "/dev/null",
        "Dir::State": folder / "state",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "APT::Architecture": "amd64",
        "APT::Architectures": "amd64",
        # As root apt drops to a user who may not write here.
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    own = run(["apt-config", "dump"]).stdout.splitlines()
    fetching = [line for line in own if line.startswith("Acquire::")]
    mine = [f'{name} "{value}";' for name, value in settings.items()]
    (folder / "apt.conf").write_text("\n".join([*fetching, *mine, ""]))


def _mirror() -> str:
    """The archive that this machine's own release comes from.

    Raises:
        LabUnavailable: apt names none.
    """
    own = own_codename()
    what = "$(CREATED_BY) $(COMPONENT) $(RELEASE) $(CODENAME) $(REPO_URI)"
    for line in run(["apt-get", "indextargets", "--format", what]).stdout.splitlines():
        made_by, component, *names, uri = line.split()
        if (made_by, component) == ("Packages", "main") and own in names:
            return uri
    raise LabUnavailable(f"another Debian needs a mirror, and apt names none of {own or 'Debian'}")


def _keyring(folder: Path) -> Path:
    """The archive's keys, from the package as apt has it now: an installed one may be too old.

    Raises:
        LabUnavailable: the package can't be fetched.
    """
    place = folder / "keys"
    place.mkdir(exist_ok=True)
    if not list(place.glob(f"{_KEYRING}_*.deb")):
        download = ["apt-get", "-o", "APT::Sandbox::User=root", "download", _KEYRING]
        done = run(download, place)
        if done.returncode != 0:
            raise LabUnavailable(f"apt can't fetch {_KEYRING}; it said: {tail(done.stderr)}")
    for file in place.glob(f"{_KEYRING}_*.deb"):
        run(["dpkg", "-x", str(file), str(place)])
    for suffix in ("gpg", "pgp"):
        keyring = place / f"usr/share/keyrings/{_KEYRING}.{suffix}"
        if keyring.exists():
            return keyring
    raise LabUnavailable(f"{_KEYRING} has no keyring where it is looked for")


def tool(name: str) -> str | None:
    """The path of a program of this host; also where a plain user's PATH does not look."""
    return shutil.which(name) or shutil.which(name, path=_SBIN)


def run(
    command: list[str], cwd: Path | None = None, more: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a tool of the host with untranslated messages."""
    path = f"{os.environ.get('PATH', '/usr/bin:/bin')}:{_SBIN}"
    environment = os.environ | {"LC_ALL": "C", "PATH": path} | (more or {})
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=600
    )


def tail(text: str) -> str:
    """The last line of a tool's complaint."""
    return text.strip().splitlines()[-1] if text.strip() else "nothing"
