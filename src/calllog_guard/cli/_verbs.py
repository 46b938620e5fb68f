"""The verbs of the command line, one module each; a module is imported when its verb is asked for."""

from typing import Final, NamedTuple


class Verb(NamedTuple):
    """Where a verb's command stands, as `module:name`, and what it is for."""

    place: str
    meaning: str


VERBS: Final = {
    "stack": Verb("stack:stack", "run a real Kafka and Redis as child processes, on free ports of 127.0.0.1"),
    "init": Verb("init:init", "write a policy, a development KMS, keys and an environment file into DIR"),
    "topics": Verb("topics:topics", "governed topics: create, check, rights; accept: what is lost of one"),
    "tenant": Verb("tenant:tenant", "make a tenant, list all, raise one to newer stored forms, its rules of identity"),
    "key": Verb("key:key", "key pairs: new, register, revoke, rotate, public"),
    "policy": Verb("policy:policy", "what a change of policy does; publish it; write the record of processing"),
    "doctor": Verb("doctor:doctor", "check settings, policy, keys, Kafka and Redis; exit 1 if anything is bad"),
    "worker": Verb("worker:worker", "run a worker: protector, desk, keeper, auditor, ingest, or one of each with all"),
    "source": Verb("source:source", "mappings of platforms' messages: what one makes of a sample; list; show"),
    "emit": Verb("emit:emit", "publish events from NDJSON or CSV; ids are taken as they stand"),
    "read": Verb("read:read", "open legs for a purpose, as an actor of the policy; the access is recorded"),
    "import": Verb(
        "import_:take_in", "take in an old call log; killed and started again it goes on, nothing is doubled"
    ),
    "dead": Verb("dead:dead", "dead letters: list, open with the operator's key, replay"),
    "request": Verb("request:request", "send a signed request: erase, access, object, hold, approve and so on"),
    "case": Verb("case:case", "cases: state, due date, stages; an officer's approve, refuse, extend"),
    "report": Verb(
        "report:month", "the officer's page of a month: what is due, what was late, erasures, holds, access"
    ),
    "console": Verb(
        "console:console", "the officers' pages in a browser, served on this machine: cases, decisions, proofs"
    ),
    "receipt": Verb("receipt:receipt", "verify a receipt, or the statement of a month, offline"),
    "notice": Verb("notice:notice", "open a notice offline: the letter to its reader, as text or as a page"),
    "export": Verb(
        "export:export", "open an answer: JSON, CSV and pages from its sealed parts; find calls by their ids"
    ),
    "scan": Verb("scan:scan", "look for what should not be there; exit 1 if anything is found"),
    "keystore": Verb(
        "keystore:keystore", "entries by state and epoch; their walk; users of Redis; policies of the KMS"
    ),
    "rebuild": Verb("rebuild:rebuild", "the keeper's index of a partition anew from the topics"),
    "expiry": Verb("expiry:expiry", "what lapses at once and waits for an officer; with an officer's key: let it go"),
    "demo": Verb("demo:demo", "the whole story on a stack of its own, in under two minutes"),
    "completion": Verb("completion:completion", "print what lets a shell complete verbs and options"),
}
"""In the order of `--help`, which imports none of them."""
