"""
Who may do what: the users with their rights to Kafka's topics, groups and cluster, and to the keystore's entries.

Rules: 1. Each user has what its code does and no more; the unlisted is denied (no `allow.everyone.if.no.acl.found`).
       2. The rights to topics stand in `core/topics.py`, with their rules.
       3. Of the keystore's entries those who protect make new ones and remove none.  Readers and officers change none.
The documentation shows these tables. `calllog-guard topics rights` prints Kafka's for its tool, `… keystore rights`
those of Redis (`core/rights/redis_rules.py`); `stack up --profile secure` sets both.
Source: docs/reference/topics.md, docs/explanation/keystore.md;
  Apache Kafka, security: operations and resources; Redis, access control lists.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from calllog_guard.core.topics import TABLE, Topic

USERS: Final = (
    *("protector", "desk", "keeper", "auditor", "operator", "backend", "officer", "reader", "recipient"),
    *("ingest", "sessions", "console"),
)
OPERATIONS: Final = {
    "R": "Read",
    "W": "Write",
    "X": "Delete",
    "A": "AlterConfigs",
    "S": "DescribeConfigs",
    "D": "Describe",
    "C": "Create",
}
"""By the letters of the tables below; Read, Write and Delete imply Describe, Write implies idempotent writing."""

_LOOKED_AT: Final = {"auditor": "DS", "operator": "CDS"}
"""Every governed topic is made by the operator; its settings are compared by both."""
_FOLLOWS_POLICY: Final = (
    *("protector", "desk", "keeper", "backend", "officer", "reader"),
    *("ingest", "sessions", "console"),
)
"""Who follows the published policy asks for how long the topic of the legs keeps them."""

GROUPS: Final[dict[str, dict[str, str]]] = {
    "guard-protector": {"protector": "R", "auditor": "D", "operator": "D"},
    "guard-desk": {"desk": "R", "auditor": "D", "operator": "D"},
    "guard-keeper": {"keeper": "R", "auditor": "D", "operator": "D"},
    "guard-auditor": {"auditor": "R", "operator": "D"},
    "guard-ingest": {"ingest": "R", "auditor": "D", "operator": "D"},
    "guard-sessions": {"sessions": "R", "auditor": "D", "operator": "D"},
}
CLUSTER: Final = {"auditor": "S", "operator": "S"}

_KNOWS_PEOPLE: Final = ("protector", "desk", "keeper", "auditor", "operator", "officer", "reader")
KEYSTORE_USERS: Final = (*_KNOWS_PEOPLE, "ingest", "sessions")
"""Backend, recipient, console have none; ingest and sessions keep there how far they have read, and know nobody."""
_READ_ON: Final = ("protector", "desk", "keeper", "auditor", "ingest", "sessions")
_ALL_READ: Final = dict.fromkeys(_KNOWS_PEOPLE, "R")
ENTRIES: Final[dict[str, dict[str, str]]] = {
    "clg:TENANT:who:*": _ALL_READ | dict.fromkeys(("protector", "desk", "keeper"), "RW") | {"auditor": "RWD"},
    "clg:TENANT:key:*": _ALL_READ | {"protector": "RN", "desk": "RW", "keeper": "RWD", "auditor": "RWD"},
    "clg:TENANT:hold:*": {"desk": "RW", "keeper": "RWD", "auditor": "RW", "officer": "R", "reader": "R"},
    "clg:TENANT:same:*": _ALL_READ | dict.fromkeys(("protector", "desk", "keeper"), "RW") | {"auditor": "RWD"},
    "clg:TENANT:kept:*": {"desk": "R", "keeper": "RW", "auditor": "RWD", "officer": "R", "reader": "R"},
    "clg:~guard": dict.fromkeys(KEYSTORE_USERS, "R") | dict.fromkeys(("keeper", "auditor", "operator"), "RW"),
    "clg:~guarded:*": _ALL_READ | {"keeper": "RWD", "auditor": "RWD", "operator": "RW"},
    "clg:~applied:*": {"keeper": "RW", "auditor": "R", "operator": "R", "officer": "R"},
    "clg:~noted:*": {"keeper": "RW"},
    "clg:~floor": _ALL_READ | {"keeper": "RW"},
    "clg:~epoch": _ALL_READ | dict.fromkeys(("auditor", "operator"), "RW"),
    "clg:~identity": _ALL_READ | dict.fromkeys(("keeper", "operator"), "RW"),
    "clg:~desk:*": {"desk": "RW"},
    "clg:~late": {"protector": "RW", "auditor": "RW"},
    "clg:~read:ROLE:*": dict.fromkeys((*_READ_ON, "operator"), "RW") | {"officer": "R"},
    "clg:~seen": dict.fromkeys((*_READ_ON, "operator"), "S"),
}
"""
The keystore's entries by key pattern: R read, N make where there is none, W write (also over another), D delete,
S write the mark by which copies are counted.
"""


SHARERS: Final = ("protect", "desk", "keep", "audit", "office", "read")
"""The trust domains of the KMS that know people: each has a wrapping key of its own, beside those that they share."""
DOMAINS: Final = (*SHARERS, "ingest", "pair")
"""All of them: who takes in what platforms report, and who pairs it, have their own key alone, and open no person's."""
DOMAIN_OF: Final = {
    "protector": "protect",
    "desk": "desk",
    "keeper": "keep",
    "auditor": "audit",
    "officer": "office",
    "reader": "read",
    "ingest": "ingest",
    "sessions": "pair",
}
"""By user. The operator, who makes them, has the right to all: keep its credentials away once everything runs."""
VOUCHES_PROFILES: Final = "vouch-profiles"
"""The wrapping key by which the operator vouches for profiles: all open it, backends too; no secret lies under it."""
VOUCHES_LETTERS: Final = "vouch-letters"
"""The wrapping key under which the auditor vouches for the weeks' keys: of dead letters and of moments."""
DOMAIN_KEY: Final = "root-"
"""Before a domain's name: the name of its wrapping key."""
_ALL: Final = SHARERS
SECRETS: Final[dict[str, tuple[str, ...]]] = {
    "epoch": _ALL,
    "pepper": _ALL,
    "guard": _ALL,
    "profile": DOMAINS,
    "receipts": ("desk",),
    "desk": ("desk",),
    "signer.desk": ("desk",),
    "signer.keep": ("keep",),
    "signer.audit": ("audit",),
    "cases": ("desk", "keep"),
    "outcomes": ("desk", "keep", "audit"),
    "secret-case": ("desk", "keep", "office"),
    "use-ledger": ("desk", "keep", "audit"),
    "use-cases": ("desk", "keep", "audit", "office"),
    "use-unseen": ("desk", "keep"),
    "use-tallies": ("desk", "keep"),
    "use-parked": ("protect", "desk", "keep"),
    "moments": ("ingest", "pair"),
}
"""Which domain opens what is wrapped beside the KMS; `use-…`: what an epoch's key needs to open such a record."""


def opened_by(name: str) -> tuple[str, ...]:
    """The domains for which a secret is wrapped by its name (`desk.iocom.1`); SHARERS where it is nobody's own."""
    kind, _, rest = name.partition(".")
    role = rest.partition(".")[2]
    return SECRETS.get(f"{kind}.{role}" if kind == "signer" else kind, _ALL)


def is_shared(name: str) -> bool:
    """Whether a secret lies under the key that those who know people share."""
    return set(opened_by(name)) >= set(SHARERS)


class Grant(NamedTuple):
    """One right of one user; `kind` is Topic, Group or Cluster."""

    user: str
    kind: str
    name: str
    operation: str


def rights() -> dict[Topic, dict[str, str]]:
    """The letters by topic and user."""
    return {topic: {user: _letters(topic, user) for user in USERS} for topic in TABLE}


def _letters(topic: Topic, user: str) -> str:
    follows = "S" if topic is Topic.LEGS and user in _FOLLOWS_POLICY else ""
    found = TABLE[topic].rights.get(user, "") + _LOOKED_AT.get(user, "") + follows
    return found.replace("D", "") if set(found) & set("RWX") else found


def grants(topic: Callable[[Topic], str], group_prefix: str, events: Sequence[str]) -> Iterator[Grant]:
    """
    Every right, one by one.

    Args:
        topic: The full name of `calllog.legs` and its like.
        events: The topics that the policy names for `calllog.events`.
        group_prefix: Before the groups' names: the installation's prefix of `calllog` topics.

    """
    tables = (
        (
            "Topic",
            {
                name: users
                for row, users in rights().items()
                for name in (events if row is Topic.EVENTS else [topic(row)])
            },
        ),
        ("Group", {group_prefix + name: users for name, users in GROUPS.items()}),
        ("Cluster", {"kafka-cluster": CLUSTER}),
    )
    for kind, table in tables:
        for name, users in table.items():
            for user, letters in users.items():
                for letter in letters:
                    yield Grant(user, kind, name, OPERATIONS[letter])


def acl_commands(topic: Callable[[Topic], str], group_prefix: str, events: Sequence[str]) -> list[str]:
    """The same as commands of Kafka's own tool, one per user and resource."""
    together: dict[tuple[str, str, str], list[str]] = {}
    for grant in grants(topic, group_prefix, events):
        together.setdefault((grant.user, grant.kind, grant.name), []).append(grant.operation)
    return [
        f"kafka-acls.sh --add --allow-principal User:{user} "
        + " ".join(f"--operation {operation}" for operation in operations)
        + (" --cluster" if kind == "Cluster" else f" --{kind.lower()} {name}")
        for (user, kind, name), operations in together.items()
    ]
