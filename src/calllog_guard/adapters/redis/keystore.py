"""
The keystore in Redis: opaque bytes, no scripts, no TTLs, nothing counts as written before it is on every wanted copy.

Rules: 1. Any doubt is silence (KeystoreSilentError), never an answer.  2. Unsafe settings are refused at start.
       3. A write, its watch and its proof go over one connection, never sent twice: a proof from elsewhere proves
          nothing, a watch ends with its connection.  4. No command names more than PORTION keys: while it runs, the
          server answers nobody, and the time of WATCH grows with its keys' square (4 ms for 250, a second for 5,000).
Source: docs/explanation/keystore.md, docs/how-to/keystore.md.
"""

import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, cast
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from calllog_guard.adapters.redis.persistence import checked, rewritten_everywhere
from calllog_guard.core.rights.grants import ENTRIES
from calllog_guard.errors import ConfigurationError, KeystoreForbiddenError, KeystoreSilentError
from calllog_guard.ports.keys import WATCHED_MOST

_TIMEOUT_S: Final = 5.0
_PROOF_MS: Final = 3000
"""How long a write may take to its copies; below the socket's timeout, so that the count arrives."""
_WAITAOF_SINCE: Final = (7, 2)
_SCAN: Final = 1000
PORTION: Final = 500
"""Keys in one command: a read of them takes the server a millisecond."""
_SEEN: Final = b"clg:~seen"
"""Written beside what is to be proven: newer servers prove a connection's last write only, and a read is none."""
_PROBE: Final = b"clg:~probe"
"""Nobody's entry: what would change it changes nothing."""
_RUN: Final = re.compile(rb"^run_id:(\w+)", re.MULTILINE)
_RELEASE: Final = re.compile(rb"^redis_version:(\d+)\.(\d+)", re.MULTILINE)

Command = tuple[Any, ...]
Say = Callable[..., Awaitable[list[Any]]]


@asynccontextmanager
async def _answers() -> AsyncIterator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        kind = KeystoreForbiddenError if _refused(error) else KeystoreSilentError
        raise kind(_why(error)) from None


def _refused(error: BaseException) -> bool:
    """Whether the user has no right to it; a command of a transaction is refused by the answer to the whole."""
    return isinstance(error, NoPermissionError) or isinstance(error.__cause__ or error.__context__, NoPermissionError)


def _why(error: BaseException) -> str:
    """What an error of the library means; the ends of the world that an operator mends are told apart from silence."""
    see = "see CALLLOG_GUARD_KEYSTORE"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, AuthenticationError):
            return f"the keystore refuses this user or this password: {see}"
        if isinstance(cause, NoPermissionError):
            return f"the keystore does not let this user do this: {see}, and the user's rules"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate of the keystore is not accepted ({cause.verify_message.rstrip('.')}): {see}"
        if isinstance(cause, ssl.SSLError):
            return f"TLS with the keystore fails ({cause.reason}): {see}"
        if isinstance(cause, FileNotFoundError):
            return f"a file of TLS that CALLLOG_GUARD_KEYSTORE names is not there ({type(error).__name__})"
        cause = cause.__cause__ or cause.__context__
    return f"the keystore does not answer ({type(error).__name__})"


async def _said(connection: Any, *commands: Command) -> list[Any]:
    """Commands in one round trip; their answers, or the first that is an error, raised."""
    await connection.send_packed_command(connection.pack_commands(commands))
    return [await connection.read_response() for _ in commands]


def _client(url: str) -> Any:
    """
    A client; nothing is asked of the server yet.

    Raises:
        ConfigurationError: An option of the address that the library does not take; it would be found within a unit.

    """
    try:
        client = Redis.from_url(url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S)
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)
    except (ValueError, TypeError, RedisError):  # their texts may quote the address, password and all
        wrong = (
            "CALLLOG_GUARD_KEYSTORE must be redis://USER:PASSWORD@HOST:PORT/DB, or rediss:// with TLS: "
            "see the documentation"
        )
        raise ConfigurationError(wrong) from None
    return client


class RedisKeystore:
    """The keystore port on one Redis and, where they are wanted, its replicas."""

    def __init__(self, url: str, replicas: int = 0, replica_urls: Sequence[str] = ()) -> None:
        self._redis: Any = _client(url)
        self._replicas, self._listed = replicas, tuple(replica_urls)
        self._proof: tuple[Command, ...] | None = None
        self._may_write = True

    # --- reading ----------------------------------------------------------------------------------------------------

    async def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See Keystore."""
        found: list[bytes | None] = []
        async with _answers():
            for some in _portions(keys):
                found += cast("list[bytes | None]", await self._redis.mget(some))
        return found

    async def origin(self, keys: Sequence[bytes]) -> tuple[bytes, list[bytes | None]]:
        """
        See Keystore: each portion in one transaction with the name of the run, so that the same server gave both.

        What was read is on every copy before its use: the last portion's proof covers what preceded the others.
        The proof is a write. A user without writes has none: nothing made of what it reads must outlive a failover.
        """
        if self._may_write:
            with suppress(KeystoreForbiddenError):  # of the proof, or of a key: then the next answer is the same
                return await self._origin(keys)
        found = await self._origin(keys, counts=False)
        self._may_write = False
        return found

    async def _origin(self, keys: Sequence[bytes], *, counts: bool = True) -> tuple[bytes, list[bytes | None]]:
        runs: set[bytes] = set()
        found: list[bytes | None] = []
        async with self._line() as say:
            proof = await self._proven_by(say) if counts else ()
            portions = _portions(keys)
            for number, some in enumerate(portions, 1):
                proven = proof if number == len(portions) else ()
                asked = (("MULTI",), ("INFO", "server"), ("MGET", *some), *proven[:-1], ("EXEC",), *proven[-1:])
                answers = await say(*asked)
                server, entries = answers[len(asked) - 1 - len(proven[-1:])][:2]
                self._enough(answers[-1] if proven else None)
                runs.update(_RUN.findall(server))
                found += entries
        if len(runs) != 1:
            raise KeystoreSilentError("the keystore does not name its run, or names two")
        return runs.pop(), found

    async def scan(self, start: bytes) -> AsyncIterator[list[bytes]]:
        """See Keystore."""
        cursor, first = 0, True
        while first or cursor:
            async with _answers():
                cursor, found = await self._redis.scan(cursor, match=start + b"*", count=_SCAN)
            first = False
            if found:
                yield found

    # --- writing ----------------------------------------------------------------------------------------------------

    async def put(self, entries: Mapping[bytes, bytes]) -> None:
        """See Keystore."""
        await self._write([_mset({key: entries[key] for key in some}) for some in _portions(list(entries))])

    async def put_new(self, entries: Mapping[bytes, bytes]) -> bool:
        """See Keystore."""
        made = await self._write(
            [_mset({key: entries[key] for key in some}, "MSETNX") for some in _portions(list(entries))]
        )
        return all(made)

    async def delete(self, keys: Sequence[bytes]) -> None:
        """See Keystore."""
        await self._write([("DEL", *some) for some in _portions(keys)])

    async def swap(
        self, changes: Mapping[bytes, tuple[bytes | None, bytes]], unchanged: Mapping[bytes, bytes | None]
    ) -> bool:
        """See Keystore."""
        expected = {key: old for key, (old, _) in changes.items()} | dict(unchanged)
        return await self._if(expected, _mset({key: new for key, (_, new) in changes.items()}))

    async def drop(self, key: bytes, unchanged: Mapping[bytes, bytes | None]) -> bool:
        """See Keystore."""
        return await self._if(unchanged, ("DEL", key))

    async def _write(self, commands: Sequence[Command]) -> list[Any]:
        """Each by itself, so that others are answered in between; one proof at the end covers them all. The answers."""
        if not commands:
            return []
        async with self._line() as say:
            proof = await self._proven_by(say)
            found = [answer for command in commands[:-1] for answer in await say(command)]
            answers = await say(commands[-1], *proof)
            self._enough(answers[-1] if proof else None)
            return [*found, answers[0]]

    async def _if(self, expected: Mapping[bytes, bytes | None], change: Command) -> bool:
        if len(expected) > WATCHED_MOST:
            raise ValueError(f"{len(expected)} entries cannot be compared at once, {WATCHED_MOST} can")
        async with self._line() as say:
            proof = await self._proven_by(say)
            _, found = await say(("WATCH", *expected), ("MGET", *expected))
            if found != list(expected.values()):
                await say(("UNWATCH",))
                return False
            answers = await say(("MULTI",), change, *proof[:-1], ("EXEC",), *proof[-1:])
            if answers[2 + len(proof[:-1])] is None:
                return False
            self._enough(answers[-1] if proof else None)
            return True

    # --- proof ------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _line(self) -> AsyncIterator[Say]:
        """One connection; closed after any error, so that neither a watch nor half an answer is left on it."""
        async with _answers():
            pool = self._redis.connection_pool
            connection = await pool.get_connection()
            try:
                yield partial(_said, connection)
            except BaseException:
                self._proof = None  # another server may answer next, of another version
                await connection.disconnect()
                raise
            finally:
                await pool.release(connection)

    async def _proven_by(self, say: Say) -> tuple[Command, ...]:
        """What follows a write: the last command counts its copies; nothing where Redis' own answer is all there is."""
        if self._proof is None:
            (server,) = await say(("INFO", "server"))
            found = _RELEASE.search(server)
            wait: tuple[Command, ...] = ()
            if found is not None and (int(found[1]), int(found[2])) >= _WAITAOF_SINCE:
                wait = (("WAITAOF", 1, self._replicas, _PROOF_MS),)
            elif self._replicas:
                wait = (("WAIT", self._replicas, _PROOF_MS),)
            self._proof = (("SET", _SEEN, b""), *wait) if self._replicas else wait
        return self._proof

    def _enough(self, counted: Any) -> None:
        """Compare the counts: both commands return them when the time is over too, without an error."""
        if counted is None:
            return
        local, replicas = counted if isinstance(counted, list) else (1, counted)
        if local < 1 or replicas < self._replicas:
            raise KeystoreSilentError(
                f"a write is on the disks of {local} master and {replicas} replicas, wanted 1 and {self._replicas}: "
                f"start the keystore's replicas, or mend CALLLOG_GUARD_KEYSTORE_REPLICAS"
            )

    # --- files ------------------------------------------------------------------------------------------------------

    async def rewrite(self) -> None:
        """See Keystore: the append-only file of the master and of every replica."""
        async with _answers():
            await rewritten_everywhere(self._redis, self._listed, self._replicas)

    async def check(self) -> None:
        """See Keystore."""
        async with _answers():
            await checked(self._redis, self._listed, self._replicas)

    async def beyond(self, user: str) -> list[str]:
        """What the user of this process can do and one of the table may not; tried by commands that change nothing."""
        letters = {letter for users in ENTRIES.values() for letter in users.get(user, "")}
        found: list[str] = []
        for what, command, may in (
            ("read what is none of the keystore's", ("MGET", "~clg-probe"), False),
            ("write over entries", ("SET", _PROBE, b"", "XX"), bool(letters & set("NW"))),
            ("delete", ("DEL", _PROBE), "D" in letters),
        ):
            with suppress(KeystoreForbiddenError):
                if not may:
                    await self._write([command])
                    found.append(what)
        return found

    async def hosts(self) -> list[str]:
        """The host that is asked, those of its replicas, as known and as listed, and of the server that it copies."""
        async with _answers():
            found = await self._redis.info("replication")
        mine = self._redis.connection_pool.connection_kwargs.get("host")
        copies = [each["ip"] for name, each in found.items() if name.startswith("slave") and isinstance(each, dict)]
        listed = [urlsplit(url).hostname for url in self._listed]
        return [host for host in (mine, found.get("master_host"), *copies, *listed) if host]

    async def close(self) -> None:
        """See Keystore."""
        await self._redis.aclose()


def _portions(keys: Sequence[bytes]) -> list[Sequence[bytes]]:
    return [keys[at : at + PORTION] for at in range(0, len(keys), PORTION)]


def _mset(entries: Mapping[bytes, bytes], command: str = "MSET") -> Command:
    return (command, *(part for pair in entries.items() for part in pair))
