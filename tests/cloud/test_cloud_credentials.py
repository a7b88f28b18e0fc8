"""Where the key and the endpoint come from, and what is refused."""

from __future__ import annotations

import os
import traceback
from typing import TYPE_CHECKING

import pytest

from nxtrack.cloud.credentials import DEFAULT_ENDPOINT, Credentials, credentials
from nxtrack.errors import CredentialsMissing, SettingsError
from nxtrack.settings import Settings, current

if TYPE_CHECKING:
    from pathlib import Path

PROFILES = """
apikey: default-key
endpoint: default.example.com
staging:
  apikey: staging-key
  endpoint: https://staging.example.com/
keyless:
  endpoint: x.example.com
bare:
  apikey: bare-key
browser:
  auth_type: pkce
  endpoint: x.example.com
"""


def write(home: Path, text: str | bytes) -> Path:
    folder = home / ".nextmv"
    folder.mkdir(exist_ok=True)
    path = folder / "config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_settings_win_and_the_file_is_not_even_read(tmp_path):
    write(tmp_path, "{ broken")
    found = credentials(Settings(api_key="k", endpoint="http://127.0.0.1:8770/"), home=tmp_path)
    assert found == Credentials("http://127.0.0.1:8770", "k")


def test_the_default_endpoint(tmp_path):
    assert credentials(Settings(api_key="k"), home=tmp_path) == Credentials(DEFAULT_ENDPOINT, "k")


@pytest.mark.parametrize(
    ("profile", "endpoint", "key"),
    [
        (None, "https://default.example.com", "default-key"),
        ("default", "https://default.example.com", "default-key"),
        ("staging", "https://staging.example.com", "staging-key"),
        ("bare", DEFAULT_ENDPOINT, "bare-key"),
    ],
)
def test_profiles(tmp_path, profile, endpoint, key):
    write(tmp_path, PROFILES)
    assert credentials(Settings(profile=profile), home=tmp_path) == Credentials(endpoint, key)


def test_each_value_comes_from_its_own_first_source(tmp_path):
    write(tmp_path, PROFILES)
    assert credentials(Settings(api_key="mine"), home=tmp_path) == Credentials("https://default.example.com", "mine")
    found = credentials(Settings(endpoint="other.example.com", profile="staging"), home=tmp_path)
    assert found == Credentials("https://other.example.com", "staging-key")


def test_the_environment_and_the_users_home(monkeypatch, tmp_path):
    write(tmp_path, PROFILES)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NEXTMV_API_KEY", "")
    monkeypatch.setenv("NEXTMV_PROFILE", "staging")
    assert credentials(current()).api_key == "staging-key"
    monkeypatch.setenv("NEXTMV_API_KEY", "from-environment")
    assert credentials(current()) == Credentials("https://staging.example.com", "from-environment")


@pytest.mark.parametrize("profile", [None, "keyless", "browser"])
def test_no_key(tmp_path, profile):
    write(tmp_path, PROFILES.replace("apikey: default-key", "apikey:"))
    with pytest.raises(CredentialsMissing) as caught:
        credentials(Settings(profile=profile), home=tmp_path)
    if profile == "browser":
        assert "pkce" in str(caught.value)
        assert "'browser'" in str(caught.value)
    else:
        assert str(caught.value) == "No API key: set NEXTMV_API_KEY, or a profile in ~/.nextmv/config.yaml."


def test_no_file_and_no_home(tmp_path, monkeypatch):
    with pytest.raises(CredentialsMissing, match=r"^No API key"):
        credentials(Settings(), home=tmp_path)
    (tmp_path / ".nextmv").touch()
    with pytest.raises(CredentialsMissing, match=r"^No API key"):
        credentials(Settings(), home=tmp_path)

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.home", homeless)
    with pytest.raises(CredentialsMissing, match=r"^No API key"):
        credentials(Settings())


def test_a_browser_profile_that_is_the_default(tmp_path):
    write(tmp_path, "auth_type: PKCE\n")
    with pytest.raises(CredentialsMissing, match=r"^The default profile in"):
        credentials(Settings(), home=tmp_path)


def test_an_unknown_profile_names_those_there_are(tmp_path):
    write(tmp_path, PROFILES)
    with pytest.raises(SettingsError, match=r"no profile 'prod'.*: there are bare, browser, keyless, staging"):
        credentials(Settings(profile="prod"), home=tmp_path)
    write(tmp_path, "apikey: k")
    with pytest.raises(SettingsError, match=r"it names none"):
        credentials(Settings(profile="prod"), home=tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "apikey: s3cret\n  broken: [",
        b"\xff\xfes\x003\x00c\x00r\x00e\x00t\x00\x00\xd8",
        b"apikey: s3cret\xff",
        "apikey: [s3cret]",
        "apikey: 533",
        "- s3cret",
        "s3cret",
        "date: 2024-13-99\napikey: s3cret",
        "apikey: s3cret\nx: " + "[" * 5000,
        "apikey: s3cret\n#" + "x" * (1 << 20),
        "apikey: s3cret\nendpoint: 5",
        "? [s3cret, {a: b}]\n: x",
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence_without_its_content(tmp_path, content):
    write(tmp_path, content)
    with pytest.raises(SettingsError) as caught:
        credentials(Settings(), home=tmp_path)
    shown = "".join(traceback.format_exception(caught.value))
    assert "s3cret" not in shown
    assert "~/.nextmv/config.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_file_is_no_file(tmp_path):
    write(tmp_path, "# nothing\n")
    assert credentials(Settings(api_key="k"), home=tmp_path).endpoint == DEFAULT_ENDPOINT


def test_a_file_that_cannot_be_read(tmp_path, monkeypatch):
    path = write(tmp_path, PROFILES)
    path.unlink()
    path.mkdir()
    with pytest.raises(SettingsError, match=r"no regular file"):
        credentials(Settings(), home=tmp_path)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(SettingsError, match=r"no regular file"):
        credentials(Settings(), home=tmp_path)
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(SettingsError, match=r"cannot be read"):
        credentials(Settings(), home=tmp_path)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("api.example.com", "https://api.example.com"),
        ("https://api.example.com///", "https://api.example.com"),
        ("HTTPS://API.example.com:8443/gateway/", "https://API.example.com:8443/gateway"),
        ("http://localhost:8770", "http://localhost:8770"),
        ("http://nextmv.localhost", "http://nextmv.localhost"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("http://[::1]:8770", "http://[::1]:8770"),
        ("http://10.1.2.3", "http://10.1.2.3"),
        ("http://gateway:80", "http://gateway:80"),
        ("localhost:8770", "https://localhost:8770"),
    ],
)
def test_endpoints(tmp_path, given, used):
    assert credentials(Settings(api_key="k", endpoint=given), home=tmp_path).endpoint == used


@pytest.mark.parametrize(
    "given",
    [
        "http://api.cloud.nextmv.io",
        "http://8.8.8.8",
        "http://[::ffff:8.8.8.8]",
        "http://134744072",
        "http://0x08080808",
        "ftp://api.example.com",
        "https://",
        "https://:443",
        "https://host:99999",
        "https://host:0",
        "https://host:x",
        "https://[::1",
        "https://user:p4ss@host",
        "https://host?x=1",
        "https://host#x",
        "https://ho st",
        "https://host\nx",
        "https://hüst",
    ],
)
def test_endpoints_that_are_refused(tmp_path, given):
    with pytest.raises(SettingsError, match=r"^The endpoint") as caught:
        credentials(Settings(api_key="k", endpoint=given), home=tmp_path)
    assert "p4ss" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "tab\t", "nul\0", "schlüssel", "\x7f"])
def test_keys_that_are_refused_are_not_shown(tmp_path, key):
    with pytest.raises(SettingsError, match=r"^The API key holds") as caught:
        credentials(Settings(api_key=key), home=tmp_path)
    assert key not in str(caught.value)


def test_the_key_is_not_shown():
    assert "s3cret" not in f"{Credentials('https://x', 's3cret')!r} {Credentials('https://x', 's3cret')}"
