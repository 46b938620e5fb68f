"""
The users of Redis, as rules of its access control lists, made of the one table of rights.

Rules: 1. From Redis 7 on (and on every Valkey) a user is held to the table's entries: to read these, make those,
          delete others.  2. An older server knows one set of keys and of commands per user: who may write one entry may
          write over every other. Nobody but those who may delete something has DEL there either.
       3. No scripts, no functions, no KEYS; SCAN and BGREWRITEAOF are the auditor's.
Source: Redis, access control lists: key permissions, selectors; `grants.py`.
"""

from typing import Final

from calllog_guard.core.rights.grants import ENTRIES, KEYSTORE_USERS

FINE_SINCE: Final = (7, 0)
"""The first release of Redis that tells reading a key from writing it."""
WAITAOF_SINCE: Final = (7, 2)
_ASK: Final = "+info +select +multi +exec"
_SETTINGS: Final = "+config|get"
_CHANGE: Final = "+watch +unwatch +wait +waitaof"
_OWN: Final[dict[str, str]] = dict.fromkeys(
    ("protector", "desk", "keeper", "operator", "ingest", "sessions"), _SETTINGS
) | {"auditor": f"{_SETTINGS} +scan +bgrewriteaof"}
"""What a user may ask of the server besides: settings are compared at every worker's start and by `doctor`."""
_COMMANDS: Final = {"R": "+mget", "N": "+msetnx", "W": "+mset +msetnx", "D": "+del", "S": "+set"}
"""By the letters of the table. SET is for a mark alone: with a time to live it would be a deletion."""


def _patterns(user: str, letter: str, tenant: str) -> list[str]:
    found: list[str] = []
    for pattern, users in ENTRIES.items():
        if letter in users.get(user, ""):
            own = pattern.replace("TENANT", tenant)
            if "ROLE" not in own or user in {"operator", "officer"} or letter == "R":
                found.append(own.replace("ROLE", "*"))
            else:  # each worker writes how far it has read itself, and of topics that are read whole
                found += [own.replace("ROLE", name) for name in (user, "all")]
    return found


def rules(user: str, tenant: str = "*", release: tuple[int, int] = WAITAOF_SINCE) -> str:
    """
    The rules of one user, without its password.

    Args:
        tenant: Whose entries; `*` where none is known yet.
        release: Of the server; Valkey answers 7.2 and later.

    """
    letters = [each for each in "RNWDS" if _patterns(user, each, tenant)]
    writes = [each for each in letters if each != "R"]
    ask = " ".join(filter(None, (_ASK, _COMMANDS["R"], _CHANGE if writes else "", _OWN.get(user, ""))))
    ask = ask if release >= WAITAOF_SINCE else ask.replace(" +waitaof", "")
    if release < FINE_SINCE:
        commands = " ".join(dict.fromkeys(" ".join([ask, *(_COMMANDS[each] for each in writes)]).split()))
        return f"resetkeys ~clg:* -@all {commands}"
    read = " ".join(f"%R~{each}" for each in _patterns(user, "R", tenant))
    more = (f"({_COMMANDS[each]} {' '.join(f'~{one}' for one in _patterns(user, each, tenant))})" for each in writes)
    return " ".join(["resetkeys", "clearselectors", read, "-@all", ask, *more])


def acl_lines(tenant: str, release: tuple[int, int]) -> list[str]:
    """Every user, as `redis-cli` takes them; PASSWORD is each one's own."""
    return [f"ACL SETUSER {user} on >PASSWORD {rules(user, tenant, release)}" for user in KEYSTORE_USERS]
