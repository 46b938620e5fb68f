"""The whole thread over TLS, each role as a user of its own, and what nobody else may do."""

import asyncio
import json
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from documents import marked
from in_process import command
from ingesting import addresses, daily, joined, session, with_sources, zoom
from installation import by_law, event
from patience import ended, until
from redis import Redis
from redis.exceptions import NoPermissionError, RedisError

from calllog_guard.adapters.kafka.admin.topics import KafkaTopics
from calllog_guard.adapters.kafka.log import KafkaLog
from calllog_guard.adapters.kafka.security import connecting, security
from calllog_guard.adapters.kafka.writer import KafkaWriter
from calllog_guard.adapters.kms.local import FileRing, LocalKms
from calllog_guard.adapters.redis.keystore import RedisKeystore
from calllog_guard.core.crypto.entries import key_epoch, open_keys, secrets_key
from calllog_guard.core.crypto.leg_envelope import open_leg, parse_header
from calllog_guard.core.crypto.subject_secrets import link_at, month_from
from calllog_guard.core.identifiers import EpochName, Pseudonym, Tenant
from calllog_guard.core.records import Output
from calllog_guard.core.rights.grants import (
    DOMAIN_OF,
    ENTRIES,
    KEYSTORE_USERS,
    OPERATIONS,
    SECRETS,
    SHARERS,
    USERS,
    rights,
)
from calllog_guard.core.stream.letters import MOMENTS
from calllog_guard.devstack.certificates import make
from calllog_guard.devstack.kafka_admin import administration
from calllog_guard.devstack.supervisor import Stack
from calllog_guard.errors import GuardError, KeystoreSilentError, LogRefusedError
from calllog_guard.settings import Settings
from calllog_guard.workers.keys.tenants.tenant_secrets import Vault

pytestmark = pytest.mark.real
ROLES = ("protector", "desk", "keeper", "auditor", "ingest", "sessions")
IMPLIED = {"Read", "Write", "Delete"}  # each of them is a right to describe, too


class Company:
    """An installation on a secure stack: commands and workers, each as a user."""

    def __init__(self, stack: Stack, base: Path) -> None:
        self.stack, self.base, self.guard = stack, base, base / "guard"
        self.log = base / "workers.log"
        self.workers: list[subprocess.Popen[bytes]] = []
        self._runner = asyncio.Runner()  # one loop for all: TLS takes its time to close what aiokafka does not wait for
        self.run = self._runner.run
        self.wanted: set[tuple[str, str, str]] = set()
        """Refusals that tests ask for, as `refusals` has them."""
        self.own: dict[str, str] = {}
        self.stages: list[str] = []
        self.own = json.loads(self.cli("operator", "init", str(self.guard), "--json"))["env"]
        self.own["CALLLOG_GUARD_PARTITIONS"] = "4"
        policy = self.guard / "policy.toml"
        policy.write_text(by_law(policy.read_text()))
        with_sources(self.guard)
        self.cli("operator", "topics", "create")
        self.cli("operator", "tenant", "create", "iocom")

    def kms(self, user: str) -> Path:
        """The wrapping keys that a user's credentials open: the shared and its domain's; the operator's: all."""
        whole, own = self.guard / "kms", self.base / "kms of" / user
        if user == "operator":
            return whole
        own.mkdir(parents=True, exist_ok=True)
        if (domain := DOMAIN_OF.get(user)) and domain not in SHARERS:  # no epoch's key, nor what all share
            (own / "epochs").mkdir(exist_ok=True)
            kinds = ("vouch-", f"{MOMENTS}-") if domain == "pair" else ("vouch-",)
            for key in (whole / "epochs").glob("[!.]*"):
                if key.name.startswith(kinds) and not (own / "epochs" / key.name).exists():
                    (own / "epochs" / key.name).symlink_to(key)
        for part in ("epochs", DOMAIN_OF.get(user, "")):
            if (whole / part).exists() and part and not (own / part).exists():
                (own / part).symlink_to(whole / part)
        return own

    def environment(self, user: str, **settings: str) -> dict[str, str]:
        """A user's environment."""
        keys = {"KMS": f"local:{self.kms(user)}", "RING": str(self.guard / "kms")}
        extra = {f"CALLLOG_GUARD_{name}": value for name, value in (keys | settings).items()}
        return os.environ | self.stack.environment_of(user) | self.own | extra

    def cli(self, user: str, *words: str, code: int = 0, **settings: str) -> str:
        """Run one command as a user; what it says on both streams when it fails."""
        done = command(words, self.environment(user, **settings))
        assert done.code == code, f"{user} {words[0]}: {done.code} {done.out[-500:]} {done.err[-1500:]}"
        return done.out + (done.err if code else "")

    def start(self) -> None:
        """One worker of each role, each as its own user."""
        with self.log.open("ab") as log:
            for role in ROLES:
                line = [sys.executable, "-m", "calllog_guard.cli", "worker", role]
                environment = self.environment(role, WALK_S="1", INGEST_HTTP="127.0.0.1:0")
                self.workers.append(subprocess.Popen(line, env=environment, stderr=log, stdout=log))

    def stop(self) -> None:
        """End the workers."""
        for worker in self.workers:
            worker.send_signal(signal.SIGTERM)
        for worker in self.workers:
            ended(worker)
        self.run(asyncio.sleep(0.5))
        self._runner.close()

    def options(self, user: str) -> dict[str, Any]:
        """A user's options of Kafka, as its settings have them."""
        return security(Path(self.stack.environment_of(user)["CALLLOG_GUARD_KAFKA_SECURITY_FILE"]).read_text())

    def settled(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until a condition holds."""

        def holds() -> bool:
            assert all(worker.poll() is None for worker in self.workers), self.log.read_text()[-2000:]
            return condition()

        until(holds, lambda: f"{what}: {self.log.read_text()[-3000:]}")

    def reads(self, user: str, topic: str, **options: Any) -> list[Any]:
        """What a user reads of a topic, internal records left out."""
        partitions = range(4 if topic in {"calllog.legs", "calllog.moments"} else 1)
        found = self.run(KafkaLog(self.stack.kafka, self.options(user) | options).read_all(topic, list(partitions)))
        return [record for record in found if not (record.key or b"").startswith(b"~")]

    def writes(self, user: str, topic: str) -> None:
        """Let a user write nonsense."""

        async def go() -> None:
            writer = KafkaWriter(self.stack.kafka, self.options(user))
            await writer.start()
            try:
                await writer.write([Output(topic, 0, b"~nonsense", b"nonsense")])
            finally:
                await writer.stop()

        self.run(go())


def read_legs(company: Company) -> set[str]:
    """The tokens of the legs that a reader is shown now."""
    lines = company.cli("reader", "read", "--purpose", "service", "--actor", "support-1").splitlines()
    return {line["token"] for line in map(json.loads, lines) if line["op"] == "put"}


def everyday(company: Company) -> list[str]:
    """From the first event to the certificate, before any test: the erasure's stages. Nobody is refused anything."""
    calls, who, keys = company.base / "calls.ndjson", company.base / "who.txt", company.guard / "keys"
    late = event("c2", "carol@example.org", minutes_ago=60 * 24 * 60)
    calls.write_text("\n".join(map(json.dumps, (event("c1", "alice@example.org", "bob@example.org"), late))))
    who.write_text("alice@example.org")
    company.cli("backend", "emit", str(calls))

    company.settled(lambda: len(company.reads("reader", "calllog.legs")) == 2, "both legs")

    assert len(read_legs(company)) == 2
    asked = ("--subject", f"@{who}", "--key", str(keys / "backend-1.pem"), "--wait", "--json")
    reply = ("--reply-key", str(keys / "operator-1.pub.pem"))
    answer = json.loads(company.cli("backend", "request", "access", *asked, *reply))["case"]
    parts = sorted(record.key.decode() for record in company.reads("backend", "privacy.exports"))
    assert parts == [f"{answer}.1", f"{answer}.1000001"], "the desk's and the keeper's, whichever was first"
    case = json.loads(company.cli("backend", "request", "erase", *asked))
    assert set(case["stages"]) >= {"fenced", "destroyed", "tombstoned"}

    def stages() -> list[str]:
        found = [json.loads(record.value) for record in company.reads("officer", "privacy.cases")]
        return [stage for each in found if each["case"] == case["case"] for stage in each["stages"]]

    company.settled(lambda: "absent" in stages(), "the certificate")
    assert len(read_legs(company)) == 1
    receipts = [record.key.decode() for record in company.reads("officer", "privacy.receipts")]
    assert receipts.count(case["case"]) >= 5
    (letter,) = company.reads("operator", "calllog.dead")
    assert json.loads(letter.value)["reason"] == "too_late"
    company.settled(lambda: '"walked"' in company.log.read_text(), "the auditor walks the keystore")
    assert refusals(company) <= company.wanted
    return stages()


@pytest.fixture(scope="module")
def company(java: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:  # noqa: ARG001
    """One company for the whole module."""
    base = tmp_path_factory.mktemp("secure stack")
    with Stack(base / "stack", "secure") as stack:
        company = Company(stack, base)
        company.start()
        try:
            company.stages = everyday(company)
            yield company
        finally:
            company.stop()


def test_each_role_does_its_work_as_its_own_user_and_no_more(company: Company) -> None:
    """It was done before: what the other tests look at is there in whatever order they run."""
    assert {"accepted", "fenced", "destroyed", "tombstoned", "absent"} <= set(company.stages)


def test_an_officer_orders_a_secret_hold_and_a_backend_is_shown_nothing(company: Company) -> None:
    who, what, began = company.base / "held.txt", company.base / "hold.json", len(broker_log(company))
    who.write_text("bob@example.org")
    terms = {"id": "claim-1", "authority": "Court", "basis": "legal_claims", "review_at": "2027-06-01T00:00:00Z"}
    what.write_text(json.dumps(terms | {"secret": True}))

    def shown() -> dict[str, set[bytes]]:
        """Whose records a backend reads: receipts of the erasure before may still come."""
        topics = ("cases", "receipts", "exports")
        return {name: {each.key for each in company.reads("backend", f"privacy.{name}")} for name in topics}

    before = shown()
    key = ("--key", str(company.guard / "keys" / "officer-1.pem"))
    asked = (*key, "--subject", f"@{who}", "--hold", f"@{what}", "--wait", "--json")
    assert json.loads(company.cli("officer", "request", "hold", *asked))["secret"]
    company.cli("officer", "request", "hold", *asked, code=4)  # a name is given once: the officer is told
    listed = json.loads(company.cli("officer", "case", "list", *key, "--json"))
    assert [case["type"] for case in listed if case["secret"]] == ["hold"]
    assert before == shown()
    assert refusals(company, began) <= company.wanted


def opened_with(company: Company, user: str) -> dict[str, bool]:
    """What the wrapping keys of a user's environment open, of what lies beside the KMS of the running installation."""
    vault, tenant = Vault(LocalKms(company.kms(user)), FileRing(company.guard / "kms")), Tenant("iocom")
    epoch = EpochName(Vault(LocalKms(company.guard / "kms"), FileRing(company.guard / "kms")).epochs()[-1])
    ways: dict[str, Callable[[], object]] = {
        "pepper": lambda: vault.pepper(tenant),
        "guard": vault.guard_id,
        "profile": lambda: vault.profile(tenant),
        "epoch": lambda: vault.epoch_key(epoch, tenant, "keystore"),
        "receipts": lambda: vault.receipt_key(tenant),
        "desk": lambda: vault.desk_key(tenant, "iocom-desk"),
        "cases": lambda: vault._root("cases.iocom"),
        "outcomes": lambda: vault.outcome_key(tenant),
        "secret-case": lambda: vault.case_key(tenant),
    }
    for role in vault.profile(tenant).signers:
        ways[f"signer.{role}"] = partial(vault.signer_seed, tenant, role)
    for use in ("ledger", "cases", "unseen", "tallies", "parked"):
        ways[f"use-{use}"] = partial(vault.epoch_key, epoch, tenant, use)

    def opens(way: Callable[[], object]) -> bool:
        try:
            return way() is not None
        except GuardError:
            return False

    return {name: opens(way) for name, way in ways.items()}


@pytest.mark.parametrize("user", DOMAIN_OF)
def test_each_users_wrapping_keys_open_what_the_table_says(company: Company, user: str) -> None:
    found = opened_with(company, user)
    assert found == {name: DOMAIN_OF[user] in SECRETS[name] for name in found}
    assert {"receipts", "cases", "signer.audit"} <= found.keys()
    assert "not separated" not in company.log.read_text()
    assert "open what is others" not in company.log.read_text()


def test_commands_do_their_work_as_the_users_of_the_readme(company: Company, tmp_path: Path) -> None:
    """Each with what its user may do with topics, entries and keys, and nothing else."""
    began = len(broker_log(company))
    old, officer = tmp_path / "old.ndjson", ("--key", str(company.guard / "keys" / "officer-1.pem"))
    old.write_text(json.dumps(event("old-1", "dora@example.org", minutes_ago=60 * 24 * 20)))
    before = read_legs(company)
    company.cli("protector", "import", str(old), "--no-erased-list", "--json")
    company.settled(lambda: len(read_legs(company) - before) == 1, "what was taken in is read")
    company.cli("auditor", "keystore", "status")
    company.cli("auditor", "keystore", "walk")
    company.cli("auditor", "keystore", "guard")
    company.cli("keeper", "tenant", "identity", "iocom", "--identity", "default")
    company.cli("operator", "tenant", "list")
    company.cli("operator", "tenant", "create", "iocom")
    company.cli("operator", "tenant", "upgrade", "iocom")
    company.cli("officer", "case", "list", *officer)
    company.cli("officer", "report")
    company.cli("officer", "policy", "check", "--legs")
    company.cli("operator", "dead", "list")
    said = {each["check"]: each for each in json.loads(company.cli("operator", "doctor", "--json"))}
    assert said["keystore users"]["verdict"] == "ok", said["keystore users"]
    assert said["trust domains"]["verdict"] == "ok", said["trust domains"]
    assert refusals(company, began) <= company.wanted


def test_an_ingest_takes_webhooks_and_its_operator_mends_what_it_refused(company: Company) -> None:
    """With its own rights: it reads raw notifications, writes events, moments and letters, and knows nobody."""
    began = len(broker_log(company))
    company.settled(lambda: "takes webhooks" in company.log.read_text(), "an ingest takes webhooks")
    url = f"http://{addresses(company.log)[-1]}"
    assert [daily(url, body) for body in (session(1), b"{}", b"no json")] == [200, 200, 200]
    assert zoom(url, joined())[0] == 200
    legs = len(company.reads("keeper", "calllog.legs"))
    company.settled(lambda: len(company.reads("keeper", "calllog.legs")) > legs - 1, "a session is a leg")
    letters = json.loads(company.cli("operator", "dead", "list", "--reason", "not_json", "--json"))
    key, mended = str(company.guard / "keys" / "operator-1.pem"), company.base / "mended.json"
    mended.write_bytes(session(2))
    company.cli("operator", "dead", "replay", letters[0]["letter"], "--key", key, "--from", str(mended))
    mended.write_bytes(joined())
    company.cli(
        "operator", "dead", "replay", letters[0]["letter"], "--key", key, "--from", str(mended), "--mapping", "zoom"
    )
    assert len(company.reads("sessions", "calllog.moments")) == 2

    def paired() -> bool:
        """Whether the one who joined is an open call of a session, by a worker that knows nobody."""
        read = KafkaLog(company.stack.kafka, company.options("protector")).read_all("calllog.events", list(range(4)))
        return any(b'"revision":0' in (record.value or b"") for record in company.run(read))

    company.settled(paired, "a join is an open call")
    assert refusals(company, began) <= company.wanted


def broker_log(company: Company) -> list[str]:
    """The lines of the broker's log by now."""
    return (company.stack.brokers[0].directory / "kafka.log").read_text(errors="replace").splitlines()


def refusals(company: Company, behind: int = 0) -> set[tuple[str, str, str]]:
    """
    User, resource and request of what the broker refused to workers behind a line of its log.

    kafka-python always asks whether it may describe the cluster.
    """
    found: set[tuple[str, str, str]] = set()
    for line in broker_log(company)[behind:]:
        if " is Denied operation = " in line and "for request = DescribeCluster " not in line:
            user, resource, request = (
                line.partition(each)[2].split()[0] for each in ("User:", "resource = ", "request = ")
            )
            found.add((user, resource, request))
    return {each for each in found if each[0] in ROLES}  # what others are refused the tests below want


def test_an_operator_sees_what_is_lost_and_workers_believe_an_officer_alone(company: Company) -> None:
    """Neither needs a right to move a group's offsets, which would pass over records without a word."""
    assert "nothing is lost" in company.cli("operator", "topics", "accept", "calllog.events")
    officer = str(company.guard / "keys" / "officer-1.pem")
    assert "nothing to accept" in company.cli(
        "operator", "topics", "accept", "calllog.events", "--key", officer, code=4
    )


def test_the_auditor_alone_prolongs_plain_text_alone(company: Company) -> None:
    def keeps(user: str, topic: str) -> None:
        admin = KafkaTopics(Settings(kafka=company.stack.kafka), company.options(user))
        try:
            before = admin.kept_ms([topic])[topic]
            admin.keep(topic, before + 1000)
            admin.keep(topic, before)
        finally:
            admin.close()

    for topic in ("calllog.events", "privacy.requests"):
        keeps("auditor", topic)
        with pytest.raises(LogRefusedError):
            keeps("operator", topic)
    for topic in ("calllog.legs", "privacy.outcomes", "privacy.receipts"):
        with pytest.raises(LogRefusedError):
            keeps("auditor", topic)
        company.wanted.add(("auditor", f"Topic:LITERAL:{topic}", "IncrementalAlterConfigs"))


@pytest.mark.parametrize("user", USERS)
def test_the_broker_gives_each_user_the_rights_of_the_table(company: Company, user: str) -> None:
    """What Kafka itself says each user may do with each topic."""
    client = administration(company.stack.kafka, **connecting(company.options(user)))
    try:
        shown = {each["name"]: each["authorized_operations"] for each in client.describe_topics()}
    finally:
        client.close()
    expected = {}
    for topic, users in rights().items():
        named = {OPERATIONS[letter] for letter in users[user]}
        named |= {"Describe"} if named & IMPLIED else set()
        if "Describe" in named:  # else the topic is not even shown
            expected[topic] = named
    found = {
        topic: {each.title().replace("_", "") for each in operations}
        for topic, operations in shown.items()
        if topic in rights()
    }
    assert expected == found


@pytest.mark.parametrize(
    ("user", "topic"),
    [
        *(("reader", f"privacy.{name}") for name in ("decisions", "requests", "outcomes")),
        *((user, "calllog.held") for user in ("reader", "backend", "officer")),
        ("operator", "privacy.decisions"),
        *((user, "privacy.orders") for user in ("backend", "reader", "operator", "recipient")),
        ("recipient", "privacy.cases"),
    ],
)
def test_who_has_no_right_to_read_gets_nothing(company: Company, user: str, topic: str) -> None:
    with pytest.raises(LogRefusedError, match=f"does not let this user do this with a topic .{topic}"):
        company.reads(user, topic)


@pytest.mark.parametrize(
    ("user", "topic"),
    [
        *(("reader", f"calllog.{name}") for name in ("legs", "events")),
        *(("backend", name) for name in ("calllog.legs", "privacy.decisions", "privacy.outcomes", "privacy.policy")),
        ("officer", "privacy.decisions"),
        *((user, "privacy.orders") for user in ("backend", "reader")),
    ],
)
def test_who_has_no_right_to_write_writes_nothing(company: Company, user: str, topic: str) -> None:
    with pytest.raises(LogRefusedError, match=f"does not let this user do this with a topic .{topic}"):
        company.writes(user, topic)


def test_who_may_write_nowhere_has_no_producer(company: Company) -> None:
    with pytest.raises(LogRefusedError, match="does not let this user write anywhere"):
        company.writes("recipient", "calllog.events")


def test_without_tls_nothing_is_said(company: Company) -> None:
    """Neither by Kafka nor by the keystore, to whoever asks in the clear."""
    with pytest.raises(LogRefusedError, match="closes the connection: is security_protocol"):
        company.run(KafkaLog(company.stack.kafka, {}).read_all("calllog.legs", [0]))
    for address in (company.stack.kafka, company.stack.redis.removeprefix("rediss://").partition("/")[0]):
        host, _, port = address.partition(":")
        with socket.create_connection((host, int(port)), timeout=5) as client:
            client.sendall(b"PING\r\n\x00\x00\x00\x00" * 4)
            try:
                answer = client.recv(1024)
            except OSError:
                answer = b""
        assert answer[:1] in {b"", b"\x15"}, "nothing but an alert of TLS"


def test_the_brokers_own_ports_take_their_own_certificate_alone(company: Company) -> None:
    """Whoever gets through there is the super user."""
    properties = (company.stack.brokers[0].directory / "server.properties").read_text()
    ports = dict(re.findall(r"(BROKER|CONTROLLER)://127\.0\.0\.1:(\d+)", properties))
    assert sorted(ports) == ["BROKER", "CONTROLLER"]
    for port in ports.values():
        client = ssl.create_default_context(cafile=str(company.stack.directory / "users" / "ca.pem"))
        with (
            socket.create_connection(("127.0.0.1", int(port)), timeout=5) as bare,
            client.wrap_socket(bare, server_hostname="127.0.0.1") as wrapped,
            pytest.raises(ssl.SSLError, match=r"CERTIFICATE_REQUIRED|BAD_CERTIFICATE"),
        ):
            wrapped.recv(1024)


def test_a_certificate_of_another_authority_is_refused(company: Company, tmp_path: Path) -> None:
    other, _ = make(tmp_path / "other")
    with pytest.raises(LogRefusedError, match=r"certificate of Kafka is not accepted \(.*certificate"):
        company.reads("reader", "calllog.legs", ssl_cafile=str(other))
    url = keystore(company).partition("?")[0] + f"?ssl_ca_certs={other}"
    with pytest.raises(KeystoreSilentError, match="certificate of the keystore is not accepted"):
        company.run(read_of(url))


def test_a_certificate_of_another_host_is_refused(company: Company) -> None:
    """The certificate is the address' alone: the same server under its name is another host."""
    kafka = company.stack.kafka.replace("127.0.0.1", "localhost")
    mismatch = r"not accepted \(Hostname mismatch, certificate is not valid for 'localhost'\)"
    with pytest.raises(LogRefusedError, match=mismatch):
        company.run(KafkaLog(kafka, company.options("reader")).read_all("calllog.legs", [0]))
    assert re.search(mismatch, company.cli("auditor", "topics", "check", code=3, KAFKA=kafka))
    with pytest.raises(KeystoreSilentError, match="Hostname mismatch"):
        company.run(read_of(keystore(company).replace("@127.0.0.1", "@localhost")))


def test_a_wrong_password_is_refused_in_words(company: Company, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps(company.options("backend") | {"sasl_plain_password": "wrong"}))
    (tmp_path / "none").write_text("")
    for words in (("topics", "check"), ("emit", str(tmp_path / "none"))):
        said = company.cli("backend", *words, code=3, KAFKA_SECURITY_FILE=str(wrong))
        assert "Kafka refuses this user or this password" in said
    with pytest.raises(KeystoreSilentError, match="the keystore refuses this user or this password"):
        company.run(read_of(keystore(company).replace("keeper:", "keeper:x")))


def keystore(company: Company, user: str = "keeper") -> str:
    """The address of the keystore, with a user's password."""
    return Path(company.stack.environment_of(user)["CALLLOG_GUARD_KEYSTORE_FILE"]).read_text()


async def read_of(url: str) -> list[bytes | None]:
    """One reading of the keystore."""
    store = RedisKeystore(url)
    try:
        return await store.read([b"clg:~guard"])
    finally:
        await store.close()


def test_the_keystore_knows_its_users_alone(company: Company) -> None:
    nobody = "rediss://" + keystore(company).partition("@")[2]
    with Redis.from_url(nobody) as client, pytest.raises(RedisError, match=r"(?i)auth"):
        client.execute_command("INFO")
    assert list(company.stack.redis_dir.glob("redis.sock"))
    assert stat.S_IMODE(company.stack.redis_dir.stat().st_mode) == 0o700


@pytest.mark.parametrize("user", KEYSTORE_USERS)
def test_the_keystore_holds_each_user_to_the_table(company: Company, user: str) -> None:
    """With a role's own environment, on the entries of the running installation: what the table lacks is refused."""
    asked = {"R": "MGET {}", "N": "MSETNX {} x", "W": "MSET {} x", "D": "DEL {}"}
    assert "can do more than this role" not in company.log.read_text()
    with (
        Redis.from_url(keystore(company, "auditor"), decode_responses=True) as auditor,
        Redis.from_url(keystore(company, user), decode_responses=True) as client,
    ):
        there = sorted(auditor.scan_iter("clg:*"))
        kinds: dict[str, str] = {}
        for pattern in ENTRIES:
            glob = pattern.replace("TENANT", "iocom").replace("ROLE", "*")
            kinds |= dict.fromkeys([pattern] if any(fnmatchcase(key, glob) for key in there) else [], glob)
        assert kinds.keys() >= {"clg:TENANT:who:*", "clg:TENANT:key:*", "clg:TENANT:hold:*", "clg:~guard", "clg:~epoch"}
        for pattern, glob in kinds.items():
            letters, key = ENTRIES[pattern].get(user, ""), next(key for key in there if fnmatchcase(key, glob))
            for letter, command in asked.items():
                if letter in letters or (letter == "N" and "W" in letters):
                    continue  # what it may do, its work shows
                with pytest.raises(NoPermissionError):
                    pytest.fail(f"{user}: {command} {pattern}: {client.execute_command(*command.format(key).split())}")
        others = [
            "KEYS *",
            "FLUSHALL",
            "FLUSHDB",
            "CONFIG SET save 1",
            "EVAL return(1) 0",
            "ACL LIST",
            "MONITOR",
            "SHUTDOWN",
        ]
        others += [] if user == "auditor" else ["SCAN 0", "BGREWRITEAOF"]
        for command in others:
            with pytest.raises(NoPermissionError):
                client.execute_command(*command.split())


def test_passwords_stand_in_files_of_their_owner_alone(company: Company) -> None:
    folder = company.stack.directory / "users"
    secrets = {json.loads(path.read_text())["sasl_plain_password"] for path in folder.glob("*.kafka.json")}
    secrets |= {path.read_text().partition("@")[0].rpartition(":")[2] for path in folder.glob("*.redis")}
    assert len(secrets) == len(USERS) + len(KEYSTORE_USERS)
    private = [
        *folder.glob("*.kafka.json"),
        *folder.glob("*.redis"),
        folder / "server.pem",
        company.stack.redis_dir / "redis.conf",
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}
    pids = [*company.stack.pids.values(), *(worker.pid for worker in company.workers)]
    told = [" ".join(psutil.Process(pid).cmdline()) for pid in pids]
    told += [" ".join(psutil.Process(pid).environ().values()) for pid in pids]
    told += [path.read_text(errors="replace") for path in company.base.rglob("*.log")]
    told += [path.read_text() for path in [*company.base.rglob("*.properties"), company.stack.redis_dir / "redis.conf"]]
    assert not [word for word in secrets for text in told if word in text]


# --- the thief's table ----------------------------------------------------------------------------------------------


def opens_legs(company: Company, user: str) -> bool:
    """Whether some living person's leg opens: its record, the person's keys, and what opens those."""
    try:
        legs = [record for record in company.reads(user, "calllog.legs") if record.value]
    except LogRefusedError:
        legs = [record for record in company.reads("keeper", "calllog.legs") if record.value]  # a copy from elsewhere
    found = 0
    vault = Vault(LocalKms(company.kms(user)), FileRing(company.guard / "kms"))
    for record in legs:
        header = parse_header(record.value)
        place = secrets_key(Tenant("iocom"), Pseudonym(header.kid))
        with suppress(GuardError, RedisError, FileNotFoundError, KeyError):
            with Redis.from_url(keystore(company, user)) as client:
                (entry,) = client.mget(place)
            keys = open_keys(entry, place, vault.epoch_key(EpochName(key_epoch(entry)), Tenant("iocom"), "keystore"))
            month = month_from(header.mon)
            at, link = (keys.current, keys.current_link) if keys.current <= month else (keys.floor, keys.floor_link)
            open_leg(record.value, link_at(link, at, month).data_key(month))
            found += 1
    return found > 0


def destroys_keys(company: Company, user: str) -> bool:
    """Whether the keystore lets the user delete a person's keys, or overwrite them; tried on keys that are nobody's."""
    key = f"clg:iocom:key:{'z' * 22}"
    with suppress(KeyError):
        for command in (("DEL", key), ("UNLINK", key), ("MSET", key, "x"), ("SET", key, "x")):
            with suppress(RedisError), Redis.from_url(keystore(company, user)) as client:
                client.execute_command(*command)
                with Redis.from_url(keystore(company, "keeper")) as keeper:
                    keeper.delete(key)
                return True
    return False


def writes_persons(company: Company, user: str) -> bool:
    """Whether the keystore lets the user write a person's entry, and so say that somebody is gone."""
    key = f"clg:iocom:who:{'z' * 43}"
    with suppress(KeyError, RedisError), Redis.from_url(keystore(company, user)) as client:
        client.execute_command("MSET", key, "x")
        with Redis.from_url(keystore(company, "auditor")) as auditor:
            auditor.delete(key)
        return True
    return False


def reads_ledger(company: Company, user: str) -> bool:
    """Whether decisions are shown, which tell of holds."""
    try:
        company.reads(user, "privacy.decisions")
    except LogRefusedError:
        return False
    return True


def opened(name: str) -> Callable[[Company, str], bool]:
    """Whether the wrapping keys of the environment open a secret."""
    return lambda company, user: opened_with(company, user)[name]


LOOT: dict[str, Callable[[Company, str], bool]] = {
    "opens legs of living people": opens_legs,
    "destroys people's keys": destroys_keys,
    "writes people's entries": writes_persons,
    "signs receipts": opened("receipts"),
    "opens what is sealed to the desk": opened("desk"),
    "vouches for outcomes": opened("outcomes"),
    "opens secret cases": opened("secret-case"),
    "reads the ledger": reads_ledger,
}
THIEVES = ("backend", *DOMAIN_OF, "operator")


def thiefs_table() -> dict[str, dict[str, bool]]:
    """The documentation's table of environments."""
    head, _, *rows = marked("thief of a role").strip().splitlines()
    names = [each.strip() for each in head.strip("|").split("|")][1:]
    table = [[each.strip() for each in row.strip("|").split("|")] for row in rows]
    return {user: {name: word == "yes" for name, word in zip(names, words, strict=True)} for user, *words in table}


def test_the_thiefs_table_names_every_role() -> None:
    assert list(thiefs_table()) == list(THIEVES)
    assert {tuple(row) for row in thiefs_table().values()} == {tuple(LOOT)}


@pytest.mark.parametrize("what", LOOT)
@pytest.mark.parametrize("user", THIEVES)
def test_whoever_takes_an_environment_can_do_what_is_written(company: Company, user: str, what: str) -> None:
    """And nothing else; each cell by itself."""
    assert LOOT[what](company, user) == thiefs_table()[user][what]
