"""What a policy can say and should not: each row with the article that says so, from the law's text, not the code."""

import json
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from policies import SERVICE, policy_of, version, write_keys
from test_policy_record import run
from test_publication import APPENDED, TODAY, claims_of, published

from calllog_guard.adapters.disk.policy_file import load_policy
from calllog_guard.adapters.kms.local import FileRing, LocalKms
from calllog_guard.cli import main
from calllog_guard.core.codec import encode
from calllog_guard.core.crypto.jose import sign
from calllog_guard.core.identifiers import Tenant
from calllog_guard.core.policy.changes.chain import Installed
from calllog_guard.core.policy.lawful import advice
from calllog_guard.core.policy.record import markdown, record
from calllog_guard.errors import ConfigurationError
from calllog_guard.settings import PREFIX
from calllog_guard.workers.keys.tenants.tenant_secrets import Vault


def duty(more: str = "", name: str = "billing") -> str:
    """A purpose that a law obliges to."""
    return f'{SERVICE}[version.tenant.iocom.purposes.{name}]\nnumber = 2\nbasis = "legal_duty"\nkeep = "P6Y"\n{more}\n'


def consents(more: str) -> str:
    """A provider's purposes: by consent, and one more."""
    return SERVICE.replace("contract", "consent") + more


PROVIDER = "public_communications_provider = true"
SECOND = '[version.tenant.iocom.requesters.officer-2]\nrole = "officer"\nkey = "officer-1.pub.pem"\n'
REQUIRED = '[version.tenant.iocom.purposes.{0}]\nnumber = 3\nbasis = "legal_duty"\nkeep = "P1Y"\nsurvives_erasure = true\n{1}\n'

LAW: list[tuple[str, str, str | None]] = [
    # Art. 17(3)(b): the right to erasure gives way to a legal obligation; what must be kept must not be destroyable
    ("a duty that an erasure destroys", version(purposes=duty()), r"purposes.billing: basis legal_duty without survives_erasure.*Art. 17\(3\)\(b\)"),
    ("a duty that says that it goes, without saying why", version(purposes=duty("survives_erasure = false")), "without survives_erasure"),
    ("a duty that survives", version(purposes=duty("survives_erasure = true")), None),
    ("a duty that is met otherwise", version(purposes=duty('erasable_because = "The invoices are kept in the books."')), None),
    ("a duty that survives and goes", version(purposes=duty('survives_erasure = true\nerasable_because = "x"')), "take one of both away"),
    ("words about a duty where there is none", version(purposes=SERVICE + 'erasable_because = "x"'), "erasable_because belongs to a legal_duty"),
    ("one word", version(purposes=duty('erasable_because = "yes"')), "is no reason"),
    ("blanks and points", version(purposes=duty('erasable_because = " . "')), "is no reason"),
    ("no words", version(purposes=duty('erasable_because = ""')), "length >= 1"),
    # PECR 2003 reg. 7(1) to (3), 29(1)(a)(i)
    ("a provider's traffic data for support", version(more=PROVIDER, purposes=SERVICE), "PECR reg. 7"),
    ("a provider's billing by contract", version(more=PROVIDER, purposes=consents(duty("survives_erasure = true").removeprefix(SERVICE))), None),
    ("a provider under a law that obliges to keep", version(more=PROVIDER, purposes=consents(REQUIRED.format("required-by-law", ""))), None),
    ("a provider's duty that an erasure destroys", version(more=PROVIDER, purposes=consents(REQUIRED.format("required-by-law", "").replace("survives_erasure = true", 'erasable_because = "x"'))), "reg. 29"),
    ("a provider's fraud by legitimate interests", version(more=PROVIDER, purposes=consents('[version.tenant.iocom.purposes.fraud]\nnumber = 3\nbasis = "legitimate_interests"\nkeep = "P1Y"\n')), "PECR reg. 7"),
    # Investigatory Powers Act 2016 s.95(2), (3): neither existence nor contents
    ("a purpose that tells of a notice by its name", version(purposes=duty("survives_erasure = true", "retention-notice")), "must not be told.*s.95"),
    ("a purpose that tells of a notice in words", version(purposes=duty('survives_erasure = true\nwhy = "Kept under a Retention Notice"')), "must not be told"),
    ("an officer's title that tells of a notice", version(more='source = "Kept by order: data-retention notices"', purposes=duty("survives_erasure = true")), "tenant iocom: source: .*must not be told"),
    ("a recipient's name that tells of a notice", version(purposes=duty("survives_erasure = true")) + '[version.tenant.iocom.actors."IPA-s87-desk"]\npurposes = ["billing"]\n', "must not be told"),
    ("a purpose that tells of a retention order", version(purposes=duty('survives_erasure = true\nwhy = "An order for data retention"')), "must not be told"),
    ("words that tell of nothing", version(purposes=duty('survives_erasure = true\nwhy = "In order to show our retention and notice periods; the shipa section"')), None),
    ("a change that tells of the Act", version(change="As the Investigatory Powers Act wants it.", purposes=duty("survives_erasure = true")), "change: .*must not be told"),
    ("a change that says nothing of it", version(change="Some records are kept for longer, as the law asks.", purposes=duty("survives_erasure = true")), None),
    # UK: bank holidays (ICO); EU: Regulation 1182/71 Art. 2(1), public holidays of the member state
    ("another country's holidays in the United Kingdom", version(more='holidays = { country = "DE" }'), "country DE moves no due date under the law of uk"),
    ("Scotland's", version(more='holidays = { country = "GB", subdivision = "SCT" }'), None),
    ("a third country's in the Union", version(more='holidays = { country = "US" }').replace('"uk"', '"eu"'), "write a member state's"),
    ("the United Kingdom's in the Union", version(more='holidays = { country = "GB" }').replace('"uk"', '"eu"'), "under the law of eu"),
    ("a member state's", version(more='holidays = { country = "IE" }').replace('"uk"', '"eu"'), None),
    ("Norway's, of the EEA", version(more='holidays = { country = "NO" }').replace('"uk"', '"eu"'), None),
    # where a day begins is one thing on every machine
    ("the zone of the machine", version(more='time_zone = "localtime"'), "is another on every machine|is no time zone"),
    # Art. 44: a place that is named is a place
    ("everything, in disguise", version(more='allowed_hosts = ["**"]'), r"'\*\*' allows every name"),
    ("everything with a point", version(more='allowed_hosts = ["*.*"]'), "allows every name"),
    ("everything but nothing", version(more='allowed_hosts = ["[!x]*"]'), "allows every name"),
    ("a host with its port", version(more='allowed_hosts = ["kafka:9092"]'), "never matches: write a host without port"),
    ("an address in brackets", version(more='allowed_hosts = ["[::1]"]'), "allows every name|never matches"),
    ("hosts and addresses", version(more='allowed_hosts = ["*.london.example.net", "::1", "127.0.0.1"]'), None),
    ("anywhere, in so many words", version(more='allowed_hosts = ["*"]'), None),
    # names that Kafka has for nothing
    ("a topic called ..", version().replace('"calllog.events"', '".."'), "'..' is no topic name"),
]  # fmt: skip


def judged(directory: Path, text: str) -> list[str]:
    """What is refused of a policy: as it is read, or as it is judged."""
    try:
        return policy_of(directory, text).unlawful(TODAY)
    except ConfigurationError as error:
        return [str(error)]


@pytest.mark.parametrize(("text", "told"), [row[1:] for row in LAW], ids=[row[0] for row in LAW])
def test_a_policy_says_what_the_law_lets_it_say(tmp_path: Path, text: str, told: str | None) -> None:
    found = judged(tmp_path, text)
    assert found == [] if told is None else any(re.search(told, line) for line in found), found


def test_two_officers_are_two_keys_for_who_starts_and_who_publishes(tmp_path: Path) -> None:
    """One person under two names could disclose alone."""
    assert policy_of(tmp_path, version() + SECOND.replace("officer-1.pub", "officer-2.pub")).unlawful(TODAY) == []
    (told,) = policy_of(tmp_path, version() + SECOND).unlawful(TODAY)
    assert "requesters.officer-2: its key is officer-1's" in told


def test_what_has_been_law_is_judged_no_more_once_a_newer_version_mends_it(tmp_path: Path) -> None:
    mended = version("2026-06-01", purposes=duty("survives_erasure = true"), change="Billing survives.")
    assert policy_of(tmp_path, version(purposes=duty()), mended).unlawful(TODAY) == []
    (told,) = policy_of(tmp_path, version(), version("2026-06-01", purposes=duty())).unlawful(TODAY)
    assert told.startswith("version 2026-06-01, tenant iocom, purposes.billing")


def test_a_lawful_version_of_some_later_day_covers_no_unlawful_one_before_it(tmp_path: Path) -> None:
    """Else one of the year 2099 would let everything through until then."""
    clean, later = version("2026-01-01"), version("2099-01-01")
    for day in ("2026-06-01", "2026-06-02"):
        (told,) = policy_of(tmp_path, clean, version(day, purposes=duty()), later).unlawful(TODAY)
        assert told.startswith(f"version {day}, tenant iocom, purposes.billing")
    waits = policy_of(tmp_path, version(purposes=duty()), later)
    assert len(waits.unlawful(TODAY)) == 1
    assert waits.unlawful(TODAY, date(2026, 1, 2)) == [], "what an earlier release took"
    corrected = version("2026-06-01").replace("change =", "revision = 2\nchange =", 1)
    assert policy_of(tmp_path, clean, version("2026-06-01", purposes=duty()), corrected).unlawful(TODAY) == []


AT = datetime(2026, 11, 24, 9, tzinfo=UTC)
IOCOM = Tenant("iocom")


def test_a_new_tenant_needs_a_lawful_policy_and_an_older_one_goes_on_with_what_it_has(tmp_path: Path) -> None:
    new = Vault(LocalKms(tmp_path / "new"), FileRing(tmp_path / "new"))
    assert new.profile(IOCOM).lawful_from == date.max, "nothing is made yet: as with the release before"
    new.create_tenant(IOCOM, (), AT)
    assert new.profile(IOCOM).lawful_from == date.min
    old = Vault(LocalKms(tmp_path / "old"), FileRing(tmp_path / "old"))
    for name in ("pepper.iocom", "receipts.iocom"):
        old.create(name, "root")
    assert old.profile(IOCOM).lawful_from == date.max
    old.upgrade(IOCOM, (), AT)
    assert old.profile(IOCOM).lawful_from == date(2026, 11, 25), "what was law on the day of the upgrade stays law"
    old.upgrade(IOCOM, (), AT + timedelta(days=9))
    assert old.profile(IOCOM).lawful_from == date(2026, 11, 25), "once"


@pytest.mark.parametrize(("lawful_from", "refused"), [(date.max, {}), (date(2026, 6, 3), {}), (date(2026, 6, 2), 1)])
def test_a_published_version_is_judged_as_its_installation_is(tmp_path: Path, lawful_from: date, refused: Any) -> None:
    policy = policy_of(tmp_path, version())
    (tmp_path / "draft.toml").write_text(version("2026-06-02", purposes=duty()))
    claims = claims_of(load_policy(tmp_path / "draft.toml"), lengthen=True)
    token = sign((tmp_path / "officer-1.pem").read_bytes(), "officer-1", encode(claims)).encode()
    policy.here = lambda: Installed(lawful_from)
    assert policy.follow({token: APPENDED}, None).refused == ({token: "unlawful"} if refused else {})


def test_no_version_names_a_topic_of_ours_for_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The auditor trims what it names: the ledger would be gone."""
    bad = version("2026-06-02").replace("calllog.events", "p1.decisions")
    policy = policy_of(tmp_path, version())
    token = published(tmp_path, bad)
    policy.here = lambda: Installed(ours=frozenset({"p1.decisions"}))
    assert policy.follow({token: APPENDED}, None).refused == {token: "contradicts"}
    policy_of(tmp_path, version(), bad)
    monkeypatch.setenv(f"{PREFIX}PRIVACY_PREFIX", "p1.")
    assert run(monkeypatch, tmp_path / "policy.toml", "check") == 2
    assert "p1.decisions is a topic of this software's own" in capsys.readouterr().err
    monkeypatch.setenv(f"{PREFIX}PRIVACY_PREFIX", "p2.")
    assert run(monkeypatch, tmp_path / "policy.toml", "check", "--against", str(tmp_path / "policy.toml")) == 0


def test_what_is_rarely_meant_is_told_and_not_refused(tmp_path: Path) -> None:
    (newest,) = policy_of(tmp_path, version(purposes=SERVICE.replace("P90D", "P1M"))).versions
    assert [line.partition(":")[0] for line in advice(newest, 35)] == [
        "tenant iocom",
        "tenant iocom",
        "tenant iocom, purposes.service",
    ]
    assert any("nobody proves who reads" in line for line in advice(newest, 35))
    assert any("1 officer: nothing can be disclosed" in line for line in advice(newest, 35))
    assert len(list(advice(newest, 30))) == 2
    (two,) = policy_of(tmp_path, version() + SECOND.replace("officer-1.pub", "officer-2.pub")).versions
    assert [line.partition(", and whoever")[0] for line in advice(two, 35)] == [
        "tenant iocom: no actor has a key: nobody proves who reads"
    ]
    (none,) = policy_of(tmp_path, version().replace('role = "officer"', 'role = "backend"')).versions
    assert "nothing can be refused" in next(advice(none, 35))


def test_every_provider_says_the_same_of_what_it_may_not_tell(tmp_path: Path) -> None:
    """Whether or not anything is kept for anybody."""
    texts = [version(more=PROVIDER, purposes=consents(more)) for more in ("", REQUIRED.format("required-by-law", ""))]
    pages = []
    for text in texts:
        found = record(policy_of(tmp_path, text).versions, "iocom", date(2026, 7, 1))
        assert found is not None
        pages.append([line for line in markdown(found).splitlines() if "may be barred from saying" in line])
    assert pages[0] == pages[1]
    assert len(pages[0]) == 1


def test_the_policy_of_init_is_lawful_and_claims_no_duty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}CALLLOG_PREFIX", "calllog.")
    assert main(["init", str(tmp_path / "guard"), "--json"]) == 0
    policy = load_policy(tmp_path / "guard" / "policy.toml")
    assert policy.unlawful(TODAY) == []
    (newest,) = policy.versions
    table = newest.tenant["iocom"]
    assert {name: each.basis for name, each in table.purposes.items()} == {"service": "contract", "billing": "contract"}
    first, second = advice(newest, 35)
    assert first == "tenant iocom: 1 officer: nothing can be disclosed to an authority, which takes two"
    assert "nobody proves who reads" in second


def test_check_tells_what_cannot_be_published_and_ends_with_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_keys(tmp_path)
    path = tmp_path / "policy.toml"
    path.write_text(version(purposes=duty()))
    assert run(monkeypatch, path, "check", "--json") == 1
    told = capsys.readouterr()
    assert "survives_erasure = true" in json.loads(told.out)["unlawful"][0]
    assert "cannot be published: version 2026-01-01" in told.err
    assert "rarely meant in version 2026-01-01, tenant iocom: 1 officer" in told.err
    path.write_text(version(purposes=duty("survives_erasure = true")))
    assert run(monkeypatch, path, "check", "--json") == 0
