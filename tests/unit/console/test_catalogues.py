"""Another language is a file: it changes the pages of browsers that ask for it, and can do no more than that."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from console_texts import PAGE
from console_world import ConsoleWorld
from html_check import Page

from calllog_guard.console.site import Site
from calllog_guard.errors import ConfigurationError
from calllog_guard.reports.catalogue import ENGLISH, Catalogue, catalogue_in, spoken

Said = Callable[[str], str]


def compiled(path: Path, said: Said, language: str = "eo", many: Said | None = None) -> Path:
    """A catalogue of the console's own texts, each as a function says it."""
    made = Catalog(locale=language)
    for each in read_po(io.BytesIO(PAGE.read_bytes())):
        if isinstance(each.id, tuple):
            made.add(each.id, [said(each.id[0]), (many or said)(each.id[1])])
        elif isinstance(each.id, str) and each.id:
            made.add(each.id, said(each.id))
    with path.open("wb") as file:
        write_mo(file, made)
    return path


@pytest.fixture
async def world(tmp_path: Path) -> ConsoleWorld:
    """A console with a case."""
    found = await ConsoleWorld(tmp_path / "console").start()
    await found.desk.ask("objection-1", "alice@example.org", type="object", purposes=["fraud"])
    await found.see()
    return found


async def pages(world: ConsoleWorld, catalogue: Catalogue, wanted: str) -> list[str]:
    """The pages of a console that has a language, as a browser gets them that wants one."""
    object.__setattr__(world.office, "languages", (catalogue,))
    world.site = Site(world.office, world.door)
    browser = await world.signed_in()
    paths = ("/", f"/cases/{world.desk.id_of('objection-1')}", "/policy", "/sign-in", "/nothing", "/month")
    return [(await browser.open(path, **{"accept-language": wanted})).body.decode() for path in paths]


async def test_a_file_changes_the_pages_of_browsers_that_ask_for_it(world: ConsoleWorld, tmp_path: Path) -> None:
    eo = catalogue_in(compiled(tmp_path / "eo.mo", lambda text: f"[{text}]"))
    for page in await pages(world, eo, "eo-XX, en;q=0.5"):
        assert '<html lang="eo">' in page
        read = Page(page)
        assert "· [Privacy console]" in page
        assert "[To the content]" in read.text
        assert "Times are those of London" in read.text
    _, case, policy, *_, month = await pages(world, eo, "eo")
    for words in ("[Due within seven days]", "[overdue now]", "[Days left]", "[Day by day]", "for [officer]]"):
        assert words in Page(month).text
    assert "[performance of a contract, Art. 6(1)(b)]" in Page(policy).text
    assert "[Approve]" in case
    assert "days left]" in case
    for page in await pages(world, eo, "en, eo;q=0.5"):
        assert '<html lang="en">' in page
        assert "[" not in Page(page).text


async def test_a_translation_is_text(world: ConsoleWorld, tmp_path: Path) -> None:
    hostile = catalogue_in(compiled(tmp_path / "eo.mo", lambda text: f'{text}<img src=x onerror=alert(1)>"'))
    for page in await pages(world, hostile, "eo"):
        read = Page(page)
        assert not read.all("img")
        assert "<img src=x onerror=alert(1)>" in read.text
        assert not any(name.startswith("on") for _, attributes in read.tags for name in attributes)


@pytest.mark.parametrize("wrong", ["%(secret)s", "100 %", "%s", "%(visit.token)s", "%(at)d"])
async def test_a_translation_with_other_values_is_passed_over(world: ConsoleWorld, tmp_path: Path, wrong: str) -> None:
    spoiled = catalogue_in(compiled(tmp_path / "eo.mo", lambda text: f"X {text} {wrong}"))
    for page in await pages(world, spoiled, "eo"):
        assert '<html lang="eo">' in page
        assert "X " not in Page(page).text


def test_a_form_for_one_may_leave_the_number_out(tmp_path: Path) -> None:
    found = catalogue_in(compiled(tmp_path / "eo.mo", lambda _: "one day", many=lambda text: f"[{text}]"))
    assert found.number("%(num)s day late", "%(num)s days late", 1) == "one day"
    assert found.number("%(num)s day late", "%(num)s days late", 2) == "[%(num)s days late]"
    assert ENGLISH.number("%(num)s day late", "%(num)s days late", 1) == "%(num)s day late"


def test_a_file_that_is_no_catalogue_or_of_no_language_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "eo.mo"
    for raw in (b"", b"msgid", b"\xde\x12\x04\x95" + b"\xff" * 30, PAGE.read_bytes()):
        path.write_bytes(raw)
        with pytest.raises(ConfigurationError, match="no compiled catalogue"):
            catalogue_in(path)
    with path.open("wb") as file:
        write_mo(file, Catalog())
    with pytest.raises(ConfigurationError, match="names no language"):
        catalogue_in(path)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT", "de"),
        ("pt-br, de;q=0.1", "pt-BR"),
        ("pt, de;q=0.1", "de"),
        ("fr, es", "en"),
        ("fr, de;q=0.3, en;q=0.4", "en"),
        ("en;q=0, de;q=0.001", "de"),
        ("de;q=0", "en"),
        ("*", "en"),
        ("de;q=x, <script>;q=1", "en"),
        ("x," * 10_000 + "de", "en"),
    ],
    ids=lambda text: text[:20],
)
def test_a_browser_is_answered_in_the_language_that_it_would_rather_have(wanted: str, found: str) -> None:
    known = [Catalogue("de", ENGLISH._translations), Catalogue("pt-BR", ENGLISH._translations)]
    assert spoken(wanted, known).language == found
