"""
`make mutants`: takes each protection out, in a copy of the tree, and demands that its test fails.

A mutant that survives means a test that proves nothing.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
MUTANTS: list[tuple[str, str, str, str, str]] = [
    (
        "an event behind the fence is stored",
        "core/calls/protect.py",
        "if person is not None and person.cut_off and min(started_ms, appended_ms) <= person.cut_off:",
        "if person is None and min(started_ms, appended_ms) < 0:",
        "tests/e2e/test_erase.py::test_person_is_erased_and_others_stay_byte_for_byte",
    ),
    (
        "a leg of an erased person is not tombstoned on sight",
        "workers/keeper.py",
        "if shard.gone(pseudonym):",
        "if pseudonym in shard.done:",
        "tests/e2e/test_withstand.py::test_legs_of_a_zombie_are_tombstoned_on_sight",
    ),
    (
        "a unit is settled before it is handled",
        "workers/delivery.py",
        "            if unit and not await self._until_done(unit):",
        "            self._settle(unit)\n            await self._commit()\n            if unit and not await self._until_done(unit):",
        "tests/e2e/test_protect.py::test_killed_at_a_step_loses_nothing_and_mints_nobody_twice[sealed]",
    ),
    (
        "the keeper forgets a pending erasure at a crash",
        "workers/keeper.py",
        "position.decisions, pending=index.pending())",
        "position.decisions)",
        "tests/e2e/test_erase.py::test_killed_at_a_step_the_erasure_still_ends[enforce.barrier-600000]",
    ),
    (
        "the desk lets the request go before the fence",
        "workers/desk.py",
        'if case.state == "enforcing" and not case.decided:',
        'if case.state == "enforcing" and seen is None:',
        "tests/e2e/test_erase.py::test_killed_at_a_step_the_erasure_still_ends[erase.case-600000]",
    ),
    (
        "a replay is enforced",
        "workers/desk.py",
        "if (seen.place if seen else self._book.place_of(request.jti) or place) != place:",
        "if (seen.place if seen else self._book.place_of(request.jti) or place) < (0, 0):",
        "tests/e2e/test_erase.py::test_person_is_erased_and_others_stay_byte_for_byte",
    ),
    (
        "the algorithm is the message's choice",
        "core/crypto/sealed.py",
        'header.get("alg") != "EdDSA"',
        'header.get("alg") is None',
        "tests/e2e/test_erase.py::test_hostile_requests_end_in_one_dead_letter_each_and_nobody_is_touched",
    ),
    (
        "an expired request is accepted",
        "core/requests/request.py",
        "<= appended_ms / 1000 <= request.exp:",
        "<= appended_ms / 1000:",
        "tests/e2e/test_erase.py::test_hostile_requests_end_in_one_dead_letter_each_and_nobody_is_touched",
    ),
    (
        "clear fields of an entry are not authenticated",
        "core/crypto/entries.py",
        "secret, clear + place)",
        "secret, place)",
        "tests/core/test_vectors.py",
    ),
    (
        "an unknown field is let through",
        "core/wire.py",
        "forbid_unknown_fields=True",
        "forbid_unknown_fields=False",
        "tests/core/test_event.py",
    ),
    (
        "a leg names the other party",
        "core/calls/leg.py",
        "text_literal(party.id)",
        'text_literal(",".join(each.id for each in event.parties))',
        "tests/core/test_event.py",
    ),
    (
        "a decision is believed before its seal is checked",
        "core/requests/decision.py",
        "names = (decision.tenant, decision.case, decision.type, decision.pseudonym, decision.decision)",
        "names = (decision.tenant, decision.case, decision.type, decision.decision)",
        "tests/e2e/test_erase.py::test_a_decision_that_no_desk_wrote_touches_nobody",
    ),
    (
        "a restored keystore is believed at once",
        "workers/keyring.py",
        "if not under_guard and found[2 : 2 + len(self._marks)] != [origin] * len(self._marks):",
        "if not under_guard and found[2 : 2 + len(self._marks)] == [origin]:",
        "tests/e2e/test_restore.py::test_nothing_is_opened_before_the_ledger_is_replayed",
    ),
    (
        "the ledger is not replayed against a restored keystore",
        "workers/keeper.py",
        "                if not is_result(record.key):\n                    await self._again(shard, record, flagged)\n",
        "                if not is_result(record.key):\n",
        "tests/e2e/test_restore.py::test_a_restored_backup_brings_nobody_back",
    ),
    (
        "absence is certified while a setting has drifted",
        "workers/auditor.py",
        "self._sound = cleaning and not drifted and not blocked",
        "self._sound = cleaning and not blocked",
        "tests/e2e/test_audit.py::test_no_certificate_while_a_governed_setting_has_drifted",
    ),
    (
        "absence is certified while a transaction hangs",
        "workers/auditor.py",
        "self._sound = cleaning and not drifted and not blocked",
        "self._sound = cleaning and not drifted",
        "tests/e2e/test_drills_kafka.py::test_a_hanging_transaction_is_noticed_and_ended_by_whoever_owns_its_id",
    ),
    (
        "absence is certified while a cleaner has given a partition up",
        "workers/auditor.py",
        "self._sound = cleaning and not drifted and not blocked",
        "self._sound = not drifted and not blocked",
        "tests/e2e/test_drills_kafka.py::test_a_partition_that_its_cleaner_gave_up_is_noticed_and_copied_anew",
    ),
    (
        "no heartbeats",
        "workers/auditor.py",
        "        await self._writer.write(beats)\n",
        "",
        "tests/e2e/test_drills_kafka.py::test_a_broker_away_and_restarts_do_not_keep_a_value_beyond_the_bound",
    ),
    (
        "a partition that the cleaner has given up is not seen",
        "adapters/http_cleaner.py",
        'uncleanable=int(sum(figures["uncleanable"]))',
        "uncleanable=0",
        "tests/contract/test_cleaners.py::test_each_page_answers_for_its_own_broker_and_silence_is_told",
    ),
    (
        "a topic of three replicas takes a record that one broker alone has",
        "adapters/kafka_admin.py",
        '"2" if settings.replicas >= _SAFE_REPLICAS else "1"',
        '"1"',
        "tests/core/test_governed.py",
    ),
    (
        "absence is certified unseen",
        "workers/auditor.py",
        "(sighting.values, sighting.keys)",
        "(0, 0)",
        "tests/e2e/test_audit.py::test_the_certificate_follows_the_disappearance_of_the_bytes",
    ),
    (
        "what a broker has set aside for deletion is not looked at",
        "adapters/segment_files.py",
        "            with suppress(FileNotFoundError, NotADirectoryError):\n                found += sorted(folder.iterdir())",
        "            with suppress(FileNotFoundError, NotADirectoryError):\n                found += sorted(folder.glob('*.log'))",
        "tests/core/test_segments.py",
    ),
    (
        "a compressed batch is taken for bytes",
        "adapters/segment_search.py",
        "        if not compressed and not found:",
        "        if not found:",
        "tests/core/test_segments.py",
    ),
    (
        "a file that is renamed while we look is lost",
        "adapters/segment_files.py",
        "            if not fresh:",
        "            if fresh or not fresh:",
        "tests/core/test_segments.py",
    ),
    (
        "what is left of a moved partition is passed over",
        "adapters/segment_files.py",
        'any(each == name or each.startswith(f"{name}.") for each in entries)',
        "any(each == name for each in entries)",
        "tests/core/test_segments.py",
    ),
    (
        "absence is certified although bytes could not be read",
        "workers/observation.py",
        "        if look.unread:",
        "        if look.unread < 0:",
        "tests/core/test_auditor.py",
    ),
    (
        "an erasure that is too young is certified by another's look",
        "workers/auditor.py",
        "items() if self._ripe(each, now)}",
        "items() if each.rewritten}",
        "tests/core/test_auditor.py",
    ),
    (
        "an overdue erasure raises no alarm",
        "workers/auditor.py",
        "        if late:",
        "        if late < 0:",
        "tests/core/test_auditor.py",
    ),
    (
        "an erasure that no keeper finished is never overdue",
        "workers/auditor.py",
        "            if each.decision is not None\n        ]",
        "            if each.decision is not None and each.done\n        ]",
        "tests/core/test_auditor.py",
    ),
    (
        "the brake does not see what is opened beside it",
        "workers/casebook.py",
        "(self._cases | self._begun).values()",
        "self._cases.values()",
        "tests/e2e/test_many.py",
    ),
    (
        "two requests of one name run at the same time",
        "workers/desk.py",
        "portions(items, lambda item: item[0].jti)",
        "portions(items, id)",
        "tests/e2e/test_many.py",
    ),
    (
        "an error is raised while others still write",
        "workers/abreast.py",
        ", return_exceptions=True)",
        ")",
        "tests/core/test_abreast.py",
    ),
    (
        "an epoch is destroyed while entries lie under it",
        "workers/walk.py",
        "if epoch in entries:",
        "if epoch in needed:",
        "tests/core/test_walk.py",
    ),
    (
        "a key is claimed that the walk took for an orphan",
        "workers/keyring.py",
        "{EPOCH_KEY: view.epoch, **entries}",
        "{EPOCH_KEY: view.epoch}",
        "tests/core/test_walk.py",
    ),
    (
        "a write counts that too few replicas have",
        "adapters/redis_keystore.py",
        "if local < 1 or replicas < self._replicas:",
        "if local < 1 or replicas < 0:",
        "tests/contract/test_redis_copies.py",
    ),
    (
        "a reader believes what no replica has",
        "adapters/redis_keystore.py",
        "            done = answers[len(asked) - 1 - len(proof[-1:])]\n            self._enough(answers[-1] if proof else None)\n",
        "            done = answers[len(asked) - 1 - len(proof[-1:])]\n",
        "tests/contract/test_redis_copies.py",
    ),
    (
        "the replicas' files keep what was deleted",
        "adapters/redis_files.py",
        "for server in (master, *replicas)))",
        "for server in (master,)))",
        "tests/contract/test_keystore.py",
    ),
    (
        "a fence is dropped before its time",
        "workers/walk.py",
        "days = self._periods.late_days + self._periods.window_days + _FENCE_MARGIN_DAYS",
        "days = self._periods.late_days + self._periods.window_days",
        "tests/core/test_walk.py",
    ),
    (
        "the ratchet moves past the months of the restricted",
        "workers/walk.py",
        "& (RESTRICTED | REVIEWED)\n            secret",
        "& 0\n            secret",
        "tests/core/test_walk.py",
    ),
    (
        "an epoch is destroyed under an entry of an unknown kind",
        "workers/walk.py",
        "_needed(epoch, current, done.entries, needed) or unknown",
        "_needed(epoch, current, done.entries, needed)",
        "tests/core/test_walk.py",
    ),
    (
        "a generation is given twice after a restore",
        "workers/keyring.py",
        "max(before.generation + 1 if before else 1, view.floor)",
        "max(before.generation + 1 if before else 1, 1)",
        "tests/core/test_keyring.py",
    ),
    (
        "an older keystore under the same run is not noticed",
        "workers/keyring.py",
        "        if counter >= self._seen:\n",
        "        if counter >= 0:\n",
        "tests/core/test_keyring.py",
    ),
    (
        "a stale replica that is promoted is believed",
        "workers/keeper.py",
        "                    await self._again(shard, record, flagged)\n                    again += 1\n",
        "                    again += 1\n",
        "tests/e2e/test_drills_keystore.py::test_nobody_comes_back_with_a_copy_a_stale_replica_an_old_ledger_or_a_frozen_worker",
    ),
    (
        "an older content in the same process goes unnoticed between two heartbeats",
        "workers/enforce.py",
        "        await self._t.ring.raise_counter()",
        "        pass",
        "tests/e2e/test_drills_keystore.py::test_nobody_comes_back_with_a_copy_a_stale_replica_an_old_ledger_or_a_frozen_worker",
    ),
    (
        "the file of a restored keystore is not written anew",
        "workers/auditor.py",
        "            each.rewritten = False\n        await self._keystore.rewrite()\n",
        "            each.rewritten = False\n",
        "tests/e2e/test_drills_keystore.py::test_nobody_comes_back_with_a_copy_a_stale_replica_an_old_ledger_or_a_frozen_worker",
    ),
    (
        "an import ignores the list of people erased long ago",
        "workers/intake.py",
        "elif part.lookup in self._listed:",
        "elif not part.lookup:",
        "tests/core/test_intake.py",
    ),
    (
        "an import stores what was born expired",
        "workers/intake.py",
        "elif left := part.mask & self._reach(part.day, purposes, today):",
        "elif left := part.mask | self._reach(part.day, purposes, today):",
        "tests/core/test_intake.py",
    ),
    (
        "an old log brings back who is gone",
        "core/calls/protect.py",
        "if person is not None and person.pseudonym is None and not returns:",
        "if person is not None and person.pseudonym is None and not mask and not returns:",
        "tests/core/test_intake.py",
    ),
    (
        "a replay is judged by its new place",
        "core/replay.py",
        "min(timestamp_ms, int(text)) if text.isdigit()",
        "timestamp_ms if text.isdigit()",
        "tests/e2e/test_letters.py",
    ),
    (
        "an import is noted before its legs are acknowledged",
        "commands/imports.py",
        "journal.add(manifest, await intake.batch(items, positions))",
        "journal.add(journal.save(manifest := msgspec.structs.replace(manifest, positions=positions)) or manifest, await intake.batch(items, positions))",
        "tests/e2e/test_import.py::test_a_killed_import_goes_on_and_nothing_is_doubled[protect.minted]",
    ),
    (
        "a destroyed epoch still opens from memory",
        "workers/vault.py",
        "if known is not None and known[1] > now:",
        "if known is not None:",
        "tests/core/test_vault.py",
    ),
    (
        "the encryption context is not bound in AWS",
        "adapters/kms_aws.py",
        'return {"calllog-guard": self._prefix, "epoch": name}',
        'return dict.fromkeys(name[:0], "")',
        "tests/contract/test_kms.py",
    ),
    (
        "the context is not bound in Vault",
        "adapters/kms_vault.py",
        'b64encode(f"{self._prefix}/{name}".encode()).decode()',
        'b64encode(b"another/2026-W49").decode()',
        "tests/contract/test_kms.py",
    ),
    (
        "a receipt forgets that the KMS could take a destruction back",
        "workers/receipts.py",
        "days=kept + self._vault.delay_days",
        "days=kept",
        "tests/core/test_vault.py",
    ),
    (
        "a destroyed epoch comes back by wrapping",
        "adapters/kms_vault.py",
        "            self._transit.read_key(**self._key(name))\n            made",
        "            made",
        "tests/contract/test_kms.py",
    ),
    (
        "a form that opens although changed passes the probe",
        "workers/probe.py",
        '        raise StoredFormError(f"start-up probe: {name} opens although a bit of it was changed")',
        "        continue",
        "tests/core/test_vault.py",
    ),
    (
        "expiry takes what has not lapsed",
        "core/retention/sweep.py",
        "if due_day(facts.day, facts.mask, tables[facts.policy]) <= today:",
        "if facts.day <= today:",
        "tests/e2e/test_withstand.py::test_lapsed_legs_go_and_others_stay_also_when_killed[none]",
    ),
    (
        "a lengthened period reaches old legs",
        "core/policy/versions.py",
        "limits=tuple(table[number].keep for table in tables[:-1])",
        "limits=()",
        "tests/core/test_policy_time.py",
    ),
    (
        "a dropped purpose keeps its legs when it comes back",
        "core/policy/versions.py",
        "if all(number in table for table in tables)",
        "if all(number in table for table in tables[-1:])",
        "tests/core/test_policy_time.py",
    ),
    (
        "a version holds before its day",
        "core/policy/versions.py",
        "reign = [version for version in versions if version.effective <= today]",
        "reign = list(versions)",
        "tests/core/test_policy_time.py",
    ),
    (
        "a forged publication is accepted",
        "core/policy/publication.py",
        "        verify(self.key_of(officer.key), token.decode())\n",
        "",
        "tests/core/test_publication.py",
    ),
    (
        "a publication may rewrite the past",
        "core/policy/publication.py",
        "if claims.effective < appended.date():",
        "if claims.effective < claims.at.date():",
        "tests/core/test_publication.py",
    ),
    (
        "a longer period needs no word",
        "core/policy/publication.py",
        "if not claims.lengthen and any(",
        "if claims.v > 1 and any(",
        "tests/core/test_publication.py",
    ),
    (
        "allowed_hosts are not checked",
        "law.py",
        "        if away:\n",
        "        if not server:\n",
        "tests/e2e/test_policy_live.py::test_servers_outside_the_allowed_hosts_are_refused_at_start_and_by_doctor",
    ),
    (
        "workers follow what is published at their next start alone",
        "workers/policy_source.py",
        "        self._note(await self._tail.more())\n",
        "",
        "tests/core/test_policy_source.py",
    ),
    (
        "one officer alone discloses",
        "core/requests/machine.py",
        "if by in first:",
        "if not by:",
        "tests/core/test_machine.py::test_a_disclosure_needs_two_officers_who_are_different",
    ),
    (
        "a proof of identity leads around the officer",
        "core/requests/machine.py",
        '(_IDENTITY, "verify", _OFFICER),',
        '(_IDENTITY, "verify", _ENFORCING),',
        "tests/core/test_machine.py",
    ),
    (
        "code grants what is braked",
        "core/requests/machine.py",
        "held = officer_asked or (braked and rule.brake) or",
        "held = officer_asked or",
        "tests/core/test_machine.py",
    ),
    (
        "anyone may ask for anything",
        "core/requests/machine.py",
        "return role in RULES[kind].roles and (",
        "return bool(role) and (",
        "tests/core/test_machine.py",
    ),
    (
        "a holiday is a working day",
        "core/requests/workdays.py",
        "return day.weekday() < _SATURDAY and not (",
        "return day.weekday() < _SATURDAY or not (",
        "tests/core/test_clock.py",
    ),
    (
        "clarification stops any clock",
        "core/requests/clock.py",
        "if not times.access or",
        "if",
        "tests/core/test_clock.py",
    ),
    (
        "a pause is asked for when time has run out",
        "core/requests/clock.py",
        "if asked > end:",
        "if asked == date.max:",
        "tests/core/test_clock.py",
    ),
    (
        "an extension is told of late",
        "core/requests/clock.py",
        "if calendar.day(at) > now.extend_until:",
        "if calendar.day(at) > now.binding:",
        "tests/core/test_clock.py",
    ),
    (
        "a reply key opens for everybody",
        "core/requests/fields.py",
        '        _PROBE.exchange(X25519PublicKey.from_public_bytes(unb64(key.x.encode("ascii"))))',
        '        X25519PublicKey.from_public_bytes(unb64(key.x.encode("ascii")))',
        "tests/core/test_request.py",
    ),
    (
        "a range is rounded to days",
        "core/requests/fields.py",
        "[Tt]00:00:00(?:",
        "[Tt][0-9:]*(?:",
        "tests/core/test_request.py",
    ),
    (
        "what a type does not need is taken along",
        "core/requests/request.py",
        'raise MessageError("unexpected_field", _pointer(name))',
        "continue",
        "tests/core/test_request.py",
    ),
    (
        "a restricted person's leg is opened",
        "core/retention/access.py",
        "        (person.closed, Refusal.RESTRICTED),\n",
        "",
        "tests/core/test_reader.py::test_what_a_person_said_is_heard",
    ),
    (
        "a leg is opened for a purpose that has lapsed",
        "workers/reading.py",
        "lapsed[when] = Refusal.LAPSED if is_over else None",
        "lapsed[when] = None",
        "tests/core/test_reader.py::test_a_lapsed_leg_is_not_opened_although_not_yet_swept",
    ),
    (
        "lines come out before the access record",
        "workers/reading.py",
        "            await self._record(verdicts)\n",
        "",
        "tests/core/test_reader.py::test_the_access_is_on_record_before_the_first_line",
    ),
    (
        "a leg comes out whose person was erased while it was opened",
        "workers/reading.py",
        "if not names or await self.source.unchanged(holders, before):",
        "if before is not None:",
        "tests/core/test_reader.py::test_who_is_erased_between_reading_and_printing_is_not_printed",
    ),
    (
        "a missing key removes downstream",
        "workers/following.py",
        "            elif refusal not in {None, Refusal.UNKNOWN} and not",
        "            elif refusal is not None and not",
        "tests/core/test_following.py::test_a_lost_key_removes_nothing",
    ),
    (
        "a table is emptied for a keystore that is silent",
        "workers/following.py",
        "await self._reading.source.standings({}, right.purpose)  #",
        "#",
        "tests/core/test_following.py::test_a_follower_that_is_late_does_not_empty_its_table_while_the_keystore_is_silent",
    ),
    (
        "a follower looks once at who was decided about",
        "workers/lookout.py",
        "self._watched[name] = now + pause, min(pause * 2, _WATCH_MOST_S), until",
        "del self._watched[name]",
        "tests/core/test_following.py::test_an_effect_that_comes_after_its_decision_is_noticed",
    ),
    (
        "a follower forgets what it handed out when it dies",
        "workers/following.py",
        "                        if step.given:\n",
        "                        if not step:\n",
        "tests/core/test_following.py::test_a_batch_that_was_not_taken_comes_again",
    ),
    (
        "a follower goes on although tombstones may be gone",
        "workers/following.py",
        "        if now_ms - whole_ms > self._keep_ms // 2:\n            raise _AnewError\n",
        "",
        "tests/core/test_following.py::test_who_slept_longer_than_tombstones_live_starts_over",
    ),
]


def survives(what: str, file: str, old: str, new: str, test: str) -> bool:
    """Whether the test still passes without the protection."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".git", ".venv", "*_cache", "__pycache__"))
        path = tree / "src" / "calllog_guard" / file
        text = path.read_text()
        if text.count(old) != 1:
            raise SystemExit(f"{what}: the protection is found {text.count(old)} times in {file}")
        path.write_text(text.replace(old, new))
        environment = os.environ | {"PYTHONPATH": str(tree / "src")}
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test]
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
        return done.returncode == 0


def main() -> int:
    """Try each, or those whose text contains the first argument; 1 when one survives."""
    alive, wanted = 0, "".join(sys.argv[1:2])
    for what, file, old, new, test in MUTANTS:
        if wanted not in what:
            continue
        lives = survives(what, file, old, new, test)
        alive += lives
        print(f"{'SURVIVES' if lives else 'caught  '}  {what}  ({test})", flush=True)  # noqa: T201
    return int(alive > 0)


if __name__ == "__main__":
    sys.exit(main())
