"""Two identifiers are one person when the tenant's rules say so, and never else; what could be either is refused."""

import json
import random
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from id_forms import form, human, stranger
from make_identity import SETS, outcome, vectors

from calllog_guard.adapters.disk.policy_file import load_policy
from calllog_guard.core.codec import check_id
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.identity.rules import (
    DEFAULT,
    REFUSED,
    RULES,
    canonical,
    in_order,
    legacy_identity,
    spellings,
    unknown_rules,
)
from calllog_guard.errors import ConfigurationError, MessageError

GOLDEN = json.loads((Path(__file__).parents[3] / "vectors" / "identity_v1.json").read_text())


def test_a_rule_means_for_ever_what_it_meant() -> None:
    """Whoever was stored under a canonical form is found by it alone."""
    assert vectors() == GOLDEN


def test_the_rules_of_new_tenants_are_frozen_by_name() -> None:
    assert tuple(GOLDEN["default"]) == DEFAULT


@pytest.mark.parametrize("seed", range(20))
def test_every_form_of_an_identifier_is_one_person_and_the_nearest_other_is_not(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - a test's dice
    for _ in range(100):
        one = human(rng)
        forms = {form(one, rng) for _ in range(3)}
        other = stranger(one, rng)
        assert {canonical(text, DEFAULT) for text in forms} == {one.plain}, (one, forms)
        assert canonical(form(other, rng), DEFAULT) != one.plain, (one, other)


@given(st.text(min_size=0, max_size=40))
@settings(max_examples=300)
def test_the_canonical_form_of_a_canonical_form_is_itself(text: str) -> None:
    for name, rules in SETS.items():
        found = outcome(text, rules)
        if not found.startswith("refused: "):
            assert outcome(found, rules) == found, name


@pytest.mark.slow
def test_no_letter_of_another_script_becomes_an_ascii_letter() -> None:
    """Whoever registers under a look-alike would get another's log. All letters of the first plane and mathematics."""
    for number in (*range(0x80, 0x10000), *range(0x1D400, 0x1D800)):
        letter = chr(number)
        if unicodedata.decomposition(letter).startswith(("<wide>", "<narrow>")) or 0xD800 <= number < 0xE000:
            continue
        found = outcome(f"a{letter}b@example.org", DEFAULT)
        assert found.startswith("refused: ") or found == "ab@example.org" or not found.isascii(), hex(number)


@given(st.text(max_size=60))
@settings(max_examples=300)
def test_whatever_comes_is_refused_with_a_word_that_is_explained(text: str) -> None:
    found = outcome(text, DEFAULT)
    assert not found.startswith("refused: ") or found.removeprefix("refused: ") in REFUSED


def test_a_refusal_tells_its_place_and_never_the_identifier() -> None:
    with pytest.raises(MessageError) as caught:
        canonical("Alice <canary@example.org>", DEFAULT, "/parties/3/id")
    assert (caught.value.pointer, caught.value.reason) == ("/parties/3/id", "no_single_address")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("rule", DEFAULT)
def test_each_rule_may_be_left_out_and_the_form_still_rests(rule: str) -> None:
    rules = tuple(name for name in DEFAULT if name != rule)
    for text in GOLDEN["forms"]:
        found = outcome(text, rules)
        assert found.startswith("refused: ") or outcome(found, rules) == found, text


def test_whoever_leaves_a_rule_out_has_two_people_where_it_would_make_one() -> None:
    """Or the rule does nothing."""
    for rule in DEFAULT:
        rules = tuple(name for name in DEFAULT if name != rule)
        assert [text for text in GOLDEN["forms"] if outcome(text, rules) != outcome(text, DEFAULT)], rule


def test_the_rules_of_the_first_release_stand_alone() -> None:
    assert unknown_rules(("as-written",)) == unknown_rules(("lowercase-email",)) == unknown_rules(DEFAULT) == []
    assert unknown_rules(("as-written", "marks")) == ["as-written"]
    assert unknown_rules(("marks", "thumbs")) == ["thumbs"]
    assert in_order(("uuids", "marks")) == ("marks", "uuids")
    assert legacy_identity(lowercase_email=True) == ("lowercase-email",)


def test_what_is_looked_for_holds_every_spelling_that_may_be_stored() -> None:
    found = spellings("Jose\u0301@M\u00fcnchen.example ", DEFAULT)
    assert {
        "jos\u00e9@xn--mnchen-3ya.example",
        "Jose\u0301@M\u00fcnchen.example",
        "JOS\u00c9@M\u00dcNCHEN.EXAMPLE",
    } <= found
    assert {"+441632960961", "00441632960961", "441632960961"} <= spellings("tel:+44-1632-960961", DEFAULT)
    assert "Alice <a@example.org>" in spellings("Alice <a@example.org>", DEFAULT)


def test_what_every_set_of_rules_leaves_alone_is_taken_for_itself() -> None:
    """The short way for nearly all identifiers gives what the long way gives."""
    for text in (
        "alice@example.org",
        "a.b+c-d_e@x-1.example",
        "+441632960961",
        "u-123",
        "f47ac10b-58cc-4372-a567-0e02b2c3d479",
    ):
        long = text
        for name in DEFAULT:
            long = RULES[name][0](long)
        assert canonical(text, DEFAULT) == long == text


def test_a_policy_that_contradicts_itself_on_who_is_who_names_the_way_out(tmp_path: Path) -> None:
    """Of a tenant of the first release: the keys of the people stored under either word differ."""
    from policies import policy_of, version  # noqa: PLC0415

    both = policy_of(tmp_path, version(), version("2026-06-01", "lowercase_email = true", change="Later."))
    with pytest.raises(ConfigurationError, match="tenant upgrade iocom"):
        both.legacy_identity(Tenant("iocom"))
    one = policy_of(tmp_path, version(more="lowercase_email = true"))
    assert one.legacy_identity(Tenant("iocom")) == ("lowercase-email",)
    assert load_policy(tmp_path / "policy.toml").legacy_identity(Tenant("iocom")) == ("lowercase-email",)


def test_control_characters_were_refused_before_there_were_rules() -> None:
    with pytest.raises(MessageError, match="bad_id"):
        check_id("a\tb", "/id")
