"""Which translation a person is shown."""

from __future__ import annotations

import pytest

from registrar.web.languages import Text, choose, wanted

METADATA = {
    "client_name": "Reader",
    "client_name#ja-Jpan-JP": "リーダー",
    "client_name#pt-BR": "Leitor",
    "client_name#de": "Leser",
    "client_uri#fr": "https://app.example/fr",
}


@pytest.mark.parametrize(
    ("ui_locales", "header", "expected"),
    [
        ((), "", ()),
        ((), "de-CH,de;q=0.9,en;q=0.8", ("de-ch", "de", "en")),
        ((), "en;q=0.5, fr", ("fr", "en")),
        ((), "en;q=0, fr", ("fr",)),
        ((), "*, en;q=x, ;;q", ()),
        (("ja", "en"), "fr", ("ja", "en", "fr")),
        ((), ",".join(f"x{number}" for number in range(100)), tuple(f"x{number}" for number in range(20))),
    ],
)
def test_languages_are_ranked(ui_locales: tuple[str, ...], header: str, expected: tuple[str, ...]) -> None:
    """What the request asks for comes before what the browser says, and that by its weights."""
    assert wanted(ui_locales, header) == expected


@pytest.mark.requirement("R7591-29")
@pytest.mark.parametrize(
    ("languages", "expected"),
    [
        ((), Text("Reader")),
        (("en",), Text("Reader")),
        (("de",), Text("Leser", "de")),
        (("de-ch",), Text("Leser", "de")),
        (("pt",), Text("Leitor", "pt-BR")),
        (("ja-jpan-jp",), Text("リーダー", "ja-Jpan-JP")),
        (("ja",), Text("リーダー", "ja-Jpan-JP")),
        (("xx", "de"), Text("Leser", "de")),
    ],
)
def test_the_variant_that_fits_is_chosen(languages: tuple[str, ...], expected: Text) -> None:
    """The most specific one first; without one that fits, the value without a tag, of which nobody says a language."""
    assert choose(METADATA, "client_name", languages) == expected


def test_a_member_with_tags_alone_is_shown_in_one_of_them() -> None:
    """Something that exists is not hidden because nobody here reads its language; something that does not is not made up."""
    assert choose(METADATA, "client_uri", ("en",)) == Text("https://app.example/fr", "fr")
    assert choose(METADATA, "tos_uri", ("en",)) is None
