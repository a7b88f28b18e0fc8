"""Ids, signed URLs and tokens, for any text that may come."""

from __future__ import annotations

import secrets
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nxtrack.errors import ServerError
from nxtrack.server.ids import is_id, new_application_id, new_payload_id, new_run_id, new_upload_id
from nxtrack.server.signing import Signer, Verdict, load_secret

SIGNER = Signer(b"0" * 32, lambda: 1000.0)
OTHER = Signer(b"1" * 32, lambda: 1000.0)
IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True)


@given(IDS)
def test_good_ids_are_ids(name):
    assert is_id(name)


@given(st.text())
def test_an_id_is_one_harmless_piece_of_a_path(text):
    if is_id(text):
        assert text.isascii()
        assert text not in {".", ".."}
        assert not set(text) & set("/\\:%?#\n\r\0 ")
        assert len(text) <= 128


@given(st.none() | IDS)
def test_run_ids_are_ids_and_never_the_same(instance):
    first, second = new_run_id(instance), new_run_id(instance)
    assert first != second
    assert is_id(first)
    assert first.startswith((instance or "external")[:100] + "-")


def test_ids_made_here_are_ids():
    for make in (new_upload_id, new_application_id, new_payload_id):
        assert is_id(make())
        assert make() != make()


@given(st.text(), st.integers(min_value=0, max_value=2**63 - 1))
def test_a_token_gives_back_its_number_for_its_purpose_only(purpose, number):
    token = SIGNER.token(purpose, number)
    assert SIGNER.number(purpose, token) == number
    assert SIGNER.number(purpose + "x", token) is None
    assert OTHER.number(purpose, token) is None


@given(st.text())
def test_any_other_text_is_no_token(text):
    assert SIGNER.number("runs", text) is None


@given(st.data())
def test_a_changed_token_is_no_token(data):
    token = SIGNER.token("runs", data.draw(st.integers(0, 10**6)))
    place = data.draw(st.integers(0, len(token) - 1))
    changed = token[:place] + data.draw(st.characters()) + token[place + 1 :]
    if changed != token:
        assert SIGNER.number("runs", changed) is None


@given(st.text(), st.text(), st.text(), st.text())
def test_nothing_but_its_own_signature_is_good(method, path, expires, signature):
    assert SIGNER.check(method, path, expires=expires, signature=signature) is Verdict.FORGED


@given(st.sampled_from(["PUT", "GET"]), st.text(), st.integers(0, 10**6))
def test_a_signed_url_is_good_until_it_expires(method, path, seconds):
    query = {name: values[0] for name, values in parse_qs(SIGNER.query(method, path, seconds=seconds)).items()}
    assert SIGNER.check(method, path, **query) is Verdict.GOOD
    later = Signer(b"0" * 32, lambda: 1000.0 + seconds + 0.1)
    assert later.check(method, path, **query) is Verdict.EXPIRED
    assert later.check(method, path + "x", **query) is Verdict.FORGED
    assert OTHER.check(method, path, **query) is Verdict.FORGED


def test_the_secret_is_made_once_for_its_owner_only(tmp_path):
    path = tmp_path / "secret"
    secret = load_secret(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_secret(path) == secret
    assert len(set(secret)) > 8


def test_a_damaged_secret_is_told(tmp_path):
    (tmp_path / "secret").write_bytes(secrets.token_bytes(3))
    with pytest.raises(ServerError, match="damaged"):
        load_secret(tmp_path / "secret")
