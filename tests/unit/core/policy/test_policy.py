"""What the policy file accepts, what it refuses and what it says then."""

from datetime import date
from pathlib import Path

import pytest
from policies import SERVICE, policy_of, version

from calllog_guard.core.cases.working_days import Calendar
from calllog_guard.core.policy.versions import events_named
from calllog_guard.errors import ConfigurationError
from calllog_guard.workers.desk.cases.terms import limit

FULL = """\
controller = "IO Com Ltd, 1 Street, London"
contact = "privacy@io.example"
supervisory_authority = "ICO"
public_communications_provider = true
lowercase_email = true
answer_months = 1
extend_to_months = 2
time_zone = "Europe/London"
holidays = { country = "GB", subdivision = "SCT" }
erasures_per_hour = 1
exports_per_hour = 2
objections_per_hour = 3
disclosures_per_hour = 4
changes_per_hour = 5
allowed_hosts = ["*.london.example.net", "127.0.0.1", "::1"]
[version.tenant.iocom.recipients.invoicing]
key = "invoicing.pub.pem"
told = ["erased", "rectified", "restricted", "lifting"]
[version.tenant.iocom.person_notices]
key = "invoicing.pub.pem"
told = ["disclosed", "extended", "refused"]
"""
BILLING = """\
[version.tenant.iocom.purposes.billing]
number = 2
basis = "legal_duty"
keep = "P6Y"
then = "anonymise"
survives_erasure = true
on_objection = "review"
when = { roles = ["host"], outcomes = ["answered"] }
shows = ["started_at", "duration_s", "role", "subject"]
"""
CONSENT = SERVICE.replace("contract", "consent")


def test_every_key_of_the_form_is_accepted_and_kept(tmp_path: Path) -> None:
    table = policy_of(tmp_path, version(more=FULL, purposes=CONSENT + BILLING)).at(date(2026, 2, 1)).tenant["iocom"]
    assert (table.authority, table.calendar) == ("ICO", Calendar(zone="Europe/London", country="GB", subdivision="SCT"))
    brakes = (table.erasures_per_hour, table.exports_per_hour, table.objections_per_hour, table.disclosures_per_hour)
    assert (*brakes, table.changes_per_hour) == (1, 2, 3, 4, 5)
    (service, billing) = table.listed()
    assert (service.basis, service.keep, service.then) == ("consent", (0, 90), "delete")
    assert (billing.keep, billing.then, billing.survives_erasure) == ((72, 0), "anonymise", True)
    assert (billing.covers("host", "answered"), billing.covers("guest", "answered")) == (True, False)
    assert table.person_notices is not None
    assert table.person_notices.told == ("disclosed", "extended", "refused")


def test_defaults_are_the_careful_ones(tmp_path: Path) -> None:
    table = policy_of(tmp_path, version()).at(date(2026, 2, 1)).tenant["iocom"]
    brakes = (table.erasures_per_hour, table.exports_per_hour, table.objections_per_hour, table.disclosures_per_hour)
    assert (*brakes, limit("restrict", table)) == (100, 100, 100, 10, 100)
    assert (table.answer_months, table.extend_to_months, table.person_notices) == (1, 2, None)
    assert table.calendar == Calendar(zone="Europe/London", country="GB", subdivision="ENG")
    assert "ico.org.uk" in table.authority
    assert table.purposes["service"].on_objection == "review"


SECOND = SERVICE.replace("service", "quality").replace("number = 1", "number = 2")
BAD = [
    (version(more="retention = 5"), "version 2026-01-01, tenant iocom.*unknown field `retention`.*known here: regime"),
    (version(more='regime2 = "uk"'), "unknown field `regime2`"),
    (version().replace('"uk"', '"us"'), "tenant iocom: Invalid enum value 'us'"),
    (version().replace('["calllog.events"]', "[]"), "tenant iocom.*length >= 1 - at `\\$.events`"),
    (version(more="answer_months = 2"), "<= 1 - at `\\$.answer_months`"),
    (version(more="extend_to_months = 4"), "<= 3 - at `\\$.extend_to_months`"),
    (version(more="erasures_per_hour = 0"), ">= 1 - at `\\$.erasures_per_hour`"),
    (version(more="exports_per_hour = 0"), "exports_per_hour"),
    (version(more="allowed_hosts = []"), "allowed_hosts"),
    (version(more='allowed_hosts = ["https://kafka:9092"]'), "is no host; write a name, a pattern"),
    (version(more='allowed_hosts = [" "]'), "is no host"),
    (version(more='holidays = { country = "XX" }'), "time_zone, holidays: no public holidays are known for XX.*write ISO 3166"),
    (version(more='holidays = { country = "GB", subdivision = "LON" }'), "no public holidays are known for GB LON"),
    (version(more='time_zone = "Europe/Lndon"'), "'Europe/Lndon' is no time zone; write one as Europe/London"),
    (version(purposes=SERVICE.replace("number = 1", "number = 51")), "purposes.service: Expected `int` <= 50"),
    (version(purposes=SERVICE.replace("contract", "habit")), "purposes.service: Invalid enum value 'habit'"),
    (version(purposes=SERVICE.replace("P90D", "90 days")), "purposes.service: keep = '90 days'.*write P90D, P6M or P6Y"),
    (version(purposes=SERVICE.replace("P90D", "P0D")), "keep = 'P0D'"),
    (version(purposes=SERVICE.replace("P90D", "-P1D")), "keep = '-P1D'"),
    (version(purposes=SERVICE.replace("P90D", "PT36H")), "keep = 'PT36H' must be whole days"),
    (version(purposes=SERVICE.replace("P90D", "P999Y")), "keep = 'P999Y' must be .* of 1 day to 100 years"),
    (version(purposes=SERVICE + 'shows = ["password"]'), "purposes.service: Invalid enum value 'password'"),
    (version(purposes=SERVICE + 'on_objection = "ignore"'), "purposes.service: Invalid enum value 'ignore'"),
    (version(purposes=SERVICE + 'when = { role = ["host"] }'), "purposes.service: .*unknown field `role`"),
    (version(purposes=SERVICE + "survives_erasure = true"), "only a legal duty survives an erasure"),
    (
        version(purposes=SERVICE.replace("contract", "legal_duty") + 'on_objection = "grant"'),
        'a duty cannot be objected away: write "review"',
    ),
    (version(purposes=SERVICE + SECOND.replace("number = 2", "number = 1")), "purposes.quality: number 1 is service's"),
    (
        version(purposes=SERVICE + SECOND, more="public_communications_provider = true"),
        "purposes.service: basis contract, but a public communications provider .*PECR reg. 7",
    ),
    (
        version(
            purposes=CONSENT + BILLING.replace("legal_duty", "legitimate_interests").replace("= true", "= false"),
            more="public_communications_provider = true",
        ),
        "purposes.billing: basis legitimate_interests.*name it billing with basis contract or legal_duty",
    ),
    (version().replace('purposes = ["service"]', 'purposes = ["servce"]'), "actors.support-1: no purpose is called servce; there are service"),
    (version().replace("officer-1.pub.pem", "nothing.pem"), "cannot read .*nothing.pem"),
    (version().replace("officer-1.pub.pem", "officer-1.pem"), "requesters.officer-1: officer-1.pem is no public key in PEM"),
    (version().replace("officer-1.pub.pem", "invoicing.pub.pem"), "invoicing.pub.pem is a X25519 key, wanted Ed25519"),
    (
        version(more=FULL.replace("invoicing.pub.pem", "officer-1.pub.pem"), purposes=CONSENT + BILLING),
        "recipients.invoicing: officer-1.pub.pem is a Ed25519 key, wanted X25519",
    ),
    (version(more=FULL.replace('"rectified", ', '"amused", '), purposes=CONSENT + BILLING), "recipients.invoicing: Invalid enum value 'amused'"),
    (version().replace("requesters.officer-1", 'requesters."officer 1"'), "tenant iocom.*matching regex.*requesters"),
    (version().replace("tenant.iocom", "tenant.Io"), "version 2026-01-01.*matching regex.*tenant"),
    (version(change=""), "version 2026-01-01: .*length >= 1 - at `\\$.change`"),
    ("version = 3", "Expected `array`"),
    ("[[version]]\neffective = 2026-01-01", "version 2026-01-01: .*missing required field `change`"),
    ("x = ", "policy.toml: "),
    ("", "missing required field `version`"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "told"), BAD, ids=[told for _, told in BAD])
def test_what_is_wrong_is_refused_with_where_and_what_to_do(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as refused:
        policy_of(tmp_path, text)
    assert str(refused.value).startswith(str(tmp_path / "policy.toml")) or "cannot read" in str(refused.value)


def test_two_tenants_never_share_a_topic(tmp_path: Path) -> None:
    other = version().partition("[version.tenant.iocom]")[2].replace("iocom", "other")
    with pytest.raises(ConfigurationError, match=r"tenant other: events: calllog.events is tenant iocom's already"):
        policy_of(tmp_path, version() + "[version.tenant.other]" + other)


@pytest.mark.parametrize(
    ("days", "told"),
    [
        (("2026-01-01", "2026-01-01"), "version 2026-01-01 stands after version 2026-01-01.*no two on one day"),
        (("2026-06-01", "2026-01-01"), "version 2026-01-01 stands after version 2026-06-01.*oldest first"),
    ],
)
def test_versions_come_oldest_first_and_no_two_on_one_day(tmp_path: Path, days: tuple[str, str], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        policy_of(tmp_path, *(version(day) for day in days))


def test_a_number_is_never_reused_also_not_a_dropped_purposes(tmp_path: Path) -> None:
    dropped = version("2026-02-01", purposes=SERVICE)
    reused = version("2026-03-01", purposes=SERVICE + SECOND.replace("quality", "fraud"))
    with pytest.raises(ConfigurationError, match=r"purposes.fraud: number 2 was quality's in version 2026-01-01"):
        policy_of(tmp_path, version(purposes=SERVICE + SECOND), dropped, reused)


def test_a_purpose_keeps_its_number(tmp_path: Path) -> None:
    moved = version("2026-02-01", purposes=SERVICE.replace("number = 1", "number = 3"))
    with pytest.raises(ConfigurationError, match=r"purposes.service: number 3, but it was 1 in version 2026-01-01"):
        policy_of(tmp_path, version(), moved)


def test_before_the_first_version_nothing_is_in_force(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, version("2026-02-01"))
    with pytest.raises(
        ConfigurationError, match="no policy version is in force on 2026-01-31: the first is 2026-02-01"
    ):
        policy.at(date(2026, 1, 31))


def test_the_topics_of_events_are_those_in_force_and_those_that_wait_for_their_day(tmp_path: Path) -> None:
    """What no version names any more nobody may write to; what waits must be there on its day."""
    named = {"2025-01-01": '["old"]', "2026-01-01": '["one", "two"]', "2027-01-01": '["two", "next"]'}
    texts = [version(day).replace('["calllog.events"]', topics) for day, topics in named.items()]
    versions = policy_of(tmp_path, *texts).versions
    assert events_named(versions, "iocom", date(2026, 6, 1)) == ("one", "two", "next")
    assert events_named(versions, "iocom", date(2027, 1, 1)) == ("two", "next")
    assert events_named(versions, "another", date(2027, 1, 1)) == ()
