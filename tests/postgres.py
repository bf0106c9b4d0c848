"""A real PostgreSQL for tests: started in a temporary folder, reached by a socket in it, limited to 1 GiB of memory."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

PASSWORD = "correct horse"  # noqa: S105 - of a server that lives as long as the test
_START_S = 20
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "shared_buffers": "16MB",
    "max_connections": "20",
    "max_wal_senders": "0",
    "autovacuum": "off",
}
_ROLE = f"""
CREATE ROLE slm_judge LOGIN PASSWORD '{PASSWORD}' NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
ALTER ROLE slm_judge SET temp_file_limit = '64MB';
"""
_GRANTS = """
GRANT USAGE ON SCHEMA public TO slm_judge;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO slm_judge;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO slm_judge;
"""


@dataclass(frozen=True)
class Server:
    """A running server; `folder` holds its socket."""

    folder: Path

    def admin(self, database: str = "postgres") -> str:
        """The DSN of the superuser."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def judge(self, database: str) -> str:
        """The DSN of a role that has no power over the server. It may write tables: what stops it is the engine."""
        return f"postgresql://slm_judge:{PASSWORD.replace(' ', '%20')}@/{database}?host={self.folder}"

    def create(self, database: str, script: str = "") -> str:
        """Make a database, run the script in it, let the judge's role read and write it; gives the judge's DSN."""
        with psycopg.connect(self.admin(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {database}")
        with psycopg.connect(self.admin(database), autocommit=True) as connection:
            connection.execute(script + _GRANTS)
        return self.judge(database)


@contextmanager
def running_server() -> Iterator[Server]:
    """Start a server and stop it; skips the test where PostgreSQL is not installed or does not start."""
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="slm-pg-", dir="/tmp"))  # a socket's path may have 107 bytes
    as_user = _other_user(folder)
    try:
        log = (folder / "log").open("wb")
        initdb = [programs / "initdb", "-D", folder / "data", "-A", "trust", "-U", "postgres", "--no-sync"]
        done = subprocess.run([*initdb, "-E", "UTF8", "--locale=C"], stdout=log, stderr=log, cwd=folder, **as_user)
        if done.returncode:
            pytest.skip(f"initdb failed: {(folder / 'log').read_text()[-300:]}")
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        postgres = [programs / "postgres", "-D", folder / "data", "-k", folder, *settings]
        limited = ["/bin/sh", "-c", 'ulimit -v 1048576; exec "$0" "$@"', *postgres]
        process = subprocess.Popen(limited, stdout=log, stderr=log, cwd=folder, **as_user)
        try:
            server = Server(folder)
            _wait(server, process)
            yield server
        finally:
            process.terminate()
            process.send_signal(2)  # SIGINT: end sessions too
            process.wait(timeout=20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    if found := shutil.which("initdb"):
        return Path(found).parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not versions:
        pytest.skip("PostgreSQL's server programs are not installed (Debian: postgresql)")
    return versions[-1].parent


def _other_user(folder: Path) -> dict[str, object]:
    """PostgreSQL refuses to run as root; gives what subprocess needs to run it as another user."""
    if os.getuid() != 0:
        return {}
    known = {user.pw_name: user for user in pwd.getpwall()}
    user = known.get("postgres") or known.get("nobody")
    if user is None:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres or nobody")
    os.chown(folder, user.pw_uid, user.pw_gid)
    folder.chmod(0o711)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _wait(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            with psycopg.connect(server.admin(), autocommit=True) as connection:
                connection.execute(_ROLE)
            return
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.skip(f"PostgreSQL did not start: {error}; {(server.folder / 'log').read_text()[-300:]}")
            time.sleep(0.05)
