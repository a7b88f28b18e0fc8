"""Reads pages the way a browser does, as far as tests need it."""

from __future__ import annotations

from html.parser import HTMLParser

_VOID = frozenset({"br", "hr", "img", "input", "link", "meta"})


class Markup(HTMLParser):
    """The tags, links and texts of HTML, which must be balanced and free of anything that runs."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.links = []
        self.texts = []
        self.classes = set()
        self._open = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        self.classes.update((attributes.get("class") or "").split())
        if tag == "a":
            self.links.append(attributes.get("href"))
        if tag == "script":
            assert attributes["src"].startswith("/static/")
        assert tag not in {"style", "iframe", "object", "embed"}
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        assert not any((attributes.get(name) or "").startswith("javascript") for name in ("href", "src", "action"))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        """All that is to be read."""
        return "".join(self.texts)


def seen(answer, status=200):
    """What is on a page, after the checks that hold for each."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    return Markup(answer.text)
