"""The named mechanisms, how each is switched off in the production code, and the tests that then go red.

A switch is one place: `edits` are put into a copy of the tree together, each `original` standing there exactly
once. `red` must fail then, `green` must still pass. `loss` completes "without it, ...".
"""

from typing import NamedTuple

# append_files moves to a new file when it changes; two definitions of it would be found twice, and refused
_SCHEMA = "app/adapters/postgres/migrations/*.sql"
_OUTSIDE = "tests/integration/mount_outside_test.py"
_CRASH = "tests/integration/mount_crash_test.py"
_STORE = "tests/conformance/store_suite/files_log_test.py"
_DECISIONS = "tests/conformance/store_suite/decisions_log_test.py"
_POSTGRES = "tests/integration/postgres_store_test.py"
_FLUSH = "tests/integration/postgres_flush_test.py"
_TASKS = "tests/integration/celery_store_test.py"
_WORKERS = "tests/integration/celery_workers_test.py"
_GATEWAY = "tests/integration/gateway_process_test.py"
_ANSWERS = "tests/unit/gateway_site/gateway_answers_test.py"
_BORDER = "tests/unit/gateway_site/gateway_border_test.py"
_COURIER = "tests/unit/journal_courier_test.py"
_JOURNAL = "tests/unit/journal_files_test.py"
_NOT_A_CALL = f"{_BORDER}::test_a_body_that_is_not_a_call_is_refused_by_field_with_a_remedy"
_SPOOL = "tests/unit/journal_spool_test.py"
_SERVICES = "tests/unit/worker_services_test.py"
_CHAIN = "tests/unit/core_chain_test.py"
_PAYLOADS = "tests/unit/core_payloads_test.py"
_DRAIN = "tests/integration/mount_drain_test.py"


class Edit(NamedTuple):
    """Text and what stands in its place when the mechanism is off; `file` may be a pattern, the text stands in one."""

    file: str
    original: str
    replacement: str


class Switch(NamedTuple):
    """One place where a mechanism lives: what is off, and the tests that tell."""

    off: str
    edits: tuple[Edit, ...]
    red: tuple[str, ...]
    green: tuple[str, ...]


class Mechanism(NamedTuple):
    """A mechanism by its name, its places, and what a user would lose without it."""

    name: str
    loss: str
    switches: tuple[Switch, ...]


MECHANISMS = (
    Mechanism(
        "dedupe",
        "a batch that the broker delivers twice is in history twice, and its files come back as conflict copies",
        (
            Switch(
                "file events: stored sequences are appended again",
                (
                    Edit(
                        "app/adapters/postgres/file_writer.py",
                        "seen = self._skip_seen(connection, work, opened)",
                        "seen = Done(work.first - 1, opened.head.position)",
                    ),
                    Edit(
                        "app/adapters/postgres/file_writer.py",
                        "left = work.part(max(0, opened.last_sequence + 1 - work.first), len(work.requests))",
                        "left = work",
                    ),
                    Edit(
                        _SCHEMA,
                        "a.incarnation = n[2] or a.touched && p_reads as met",
                        "a.touched && p_reads as met",
                    ),
                    Edit(
                        _SCHEMA,
                        "    unique (project, incarnation, sequence)\n) with (toast_tuple_target",
                        "    check (true)\n) with (toast_tuple_target",
                    ),
                ),
                (f"{_STORE}::test_a_batch_sent_again_is_stored_once_and_answered_as_stored[postgres]",),
                (f"{_STORE}::test_feed_messages_carry_the_hash_before_them_and_join_up[postgres]",),
            ),
            Switch(
                "decisions: recorded ones are appended again",
                (
                    Edit(
                        "app/adapters/postgres/decisions.py",
                        "records = batch.records[skipped:]",
                        "records = batch.records",
                    ),
                ),
                (f"{_DECISIONS}::test_a_batch_sent_again_or_overlapping_is_recorded_once",),
                (f"{_DECISIONS}::test_a_thousand_decisions_are_four_rows_and_each_is_found",),
            ),
        ),
    ),
    Mechanism(
        "gap fill",
        "a change of another mount whose message Redis lost never appears here",
        (
            Switch(
                "the mount reads nothing that it missed",
                (
                    Edit(
                        "fuse_mount/feed.py",
                        "            fresh = [event for event in events if event.position > self.position]\n"
                        "            self.figures.by_catch_up",
                        "            fresh: list[FeedEvent] = []\n            self.figures.by_catch_up",
                    ),
                ),
                (f"{_OUTSIDE}::test_what_pubsub_loses_is_read_from_the_store",),
                (f"{_OUTSIDE}::test_attributes_changed_elsewhere_are_seen",),
            ),
        ),
    ),
    Mechanism(
        "journal append",
        "what a program wrote before a crash of the mount is gone although its call had returned",
        (
            Switch(
                "operations return without a record on disk",
                (
                    Edit(
                        "app/adapters/journal/writer.py",
                        "            segment.append((frame(_OPERATION, body, segment.seed), body), total)\n",
                        "",
                    ),
                ),
                (
                    f"{_JOURNAL}::test_what_was_appended_is_read_back_in_order_with_its_place",
                    f"{_JOURNAL}::test_kill_nine_at_any_moment_loses_no_returned_append",
                ),
                (f"{_JOURNAL}::test_an_incarnation_is_never_used_twice",),
            ),
            Switch(
                "written bytes return without a record on disk",
                (
                    Edit(
                        "app/adapters/journal/writer.py",
                        "            segment.append((frame(_BASE, named, seed), named, *parts) if named else parts, total)\n",
                        "",
                    ),
                ),
                (f"{_CRASH}::test_kill_9_loses_nothing_that_returned[0]",),
                (f"{_CRASH}::test_events_are_numbered_without_gaps_and_one_call_makes_one",),
            ),
        ),
    ),
    Mechanism(
        "courier replay",
        "one task that Redis loses holds up every later write of the mount for ever",
        (
            Switch(
                "a batch without an answer is not sent again",
                (
                    Edit(
                        "app/services/shipment.py",
                        "(self._sent_s is None or now_s - self._sent_s >= RESEND_S)",
                        "self._sent_s is None",
                    ),
                ),
                (
                    f"{_COURIER}::test_one_persist_batch_is_out_at_a_time_and_resent_with_the_same_bytes",
                    f"{_COURIER}::test_a_broker_that_loses_doubles_and_delays_changes_nothing[0]",
                ),
                (f"{_COURIER}::test_everything_journalled_arrives_in_order_and_whole",),
            ),
        ),
    ),
    Mechanism(
        "spool",
        "calls are answered that no log ever shows: after a crash of the gateway nobody knows what was approved",
        (
            Switch(
                "answers leave without a record",
                (
                    Edit(
                        "app/services/answering.py",
                        "            self._spool.append_encoded(records, first)\n",
                        "",
                    ),
                ),
                (
                    f"{_ANSWERS}::test_the_same_question_again_is_answered_from_the_local_cache_and_recorded_too",
                    f"{_ANSWERS}::test_a_spool_that_is_full_blocks_every_call_even_a_cached_one",
                ),
                (f"{_ANSWERS}::test_numbers_that_python_calls_equal_are_different_questions",),
            ),
            Switch(
                "records do not reach the disk",
                (Edit("app/adapters/journal/spool.py", "        self._segment.append(parts, size)\n", ""),),
                (f"{_SPOOL}::test_every_answer_reaches_the_store_once_over_a_bad_broker[0]",),
                (f"{_SPOOL}::test_answers_get_consecutive_numbers_and_one_write",),
            ),
        ),
    ),
    Mechanism(
        "entry invalidation",
        "a file made by another mount stays invisible to whoever looked for it before",
        (
            Switch(
                "names are not expired in the kernel",
                (Edit("fuse_mount/kernel_cache.py", "            self._entries[parent, name] = None\n", ""),),
                (
                    f"{_OUTSIDE}::test_a_file_made_elsewhere_appears_though_its_absence_was_cached",
                    f"{_OUTSIDE}::test_a_name_removed_elsewhere_is_gone_and_its_open_file_lives",
                ),
                (f"{_OUTSIDE}::test_attributes_changed_elsewhere_are_seen",),
            ),
        ),
    ),
    Mechanism(
        "inode invalidation",
        "programs go on reading old bytes, sizes and modes of files that another mount has changed",
        (
            Switch(
                "pages and attributes are not dropped in the kernel",
                (
                    Edit(
                        "fuse_mount/kernel_cache.py",
                        "            self._inodes[inode] = attributes_only and self._inodes.get(inode, True)\n",
                        "",
                    ),
                ),
                (
                    f"{_OUTSIDE}::test_the_same_length_written_elsewhere_is_not_read_from_stale_pages",
                    f"{_OUTSIDE}::test_attributes_changed_elsewhere_are_seen",
                ),
                (f"{_OUTSIDE}::test_a_file_made_elsewhere_appears_though_its_absence_was_cached",),
            ),
        ),
    ),
    Mechanism(
        "hash chain",
        "whoever reaches the database can change who did what, and the log still verifies",
        (
            Switch(
                "a row's hash covers its payload only",
                (
                    Edit(
                        "app/core/chain.py",
                        "return hashlib.sha256(previous + _encoder.encode(header) + digest).digest()",
                        "return digest",
                    ),
                ),
                (
                    f"{_CHAIN}::test_changing_any_field_of_a_row_changes_its_hash",
                    f"{_CHAIN}::test_a_row_is_bound_to_what_stands_before_it_and_to_its_payload",
                ),
                (f"{_CHAIN}::test_a_leaf_cannot_pass_for_an_inner_node_and_its_salt_hides_it",),
            ),
            Switch(
                "Postgres makes a row's hash without the one before it",
                (
                    Edit(
                        _SCHEMA,
                        "sha256(link || b[2] ||",
                        "sha256(b[2] ||",
                    ),
                ),
                (f"{_POSTGRES}::test_a_changed_byte_and_a_missing_row_are_found_at_their_position",),
                (f"{_STORE}::test_a_gap_is_refused_and_nothing_is_appended[postgres]",),
            ),
            Switch(
                "a writer that knows the head makes a row's hash without the one before it",
                (
                    Edit(
                        "app/adapters/postgres/links.py",
                        "(previous, front, _encode(position),",
                        "(front, _encode(position),",
                    ),
                ),
                (f"{_FLUSH}::test_appends_that_a_writer_hashed_and_that_the_server_hashed_are_one_chain",),
                (f"{_STORE}::test_a_gap_is_refused_and_nothing_is_appended[postgres]",),
            ),
            Switch(
                "verifying does not compare hashes",
                (Edit("app/adapters/postgres/chain_check.py", "if previous != link.hash:", "if False:"),),
                (f"{_POSTGRES}::test_a_changed_byte_and_a_missing_row_are_found_at_their_position",),
                (f"{_POSTGRES}::test_a_removed_last_row_is_found",),
            ),
        ),
    ),
    Mechanism(
        "head lock",
        "two mounts that write at once fold on the same head: batches fail, or take the same positions",
        (
            Switch(
                "the files log has no lock",
                (
                    Edit(
                        _SCHEMA,
                        "    perform pg_advisory_xact_lock(p_project, 1);\n    perform settle_tree",
                        "    perform settle_tree",
                    ),
                    Edit(
                        _SCHEMA,
                        "    lock := pg_advisory_xact_lock(log_project, 1);\n",
                        "",
                    ),
                ),
                (f"{_STORE}::test_positions_are_gapless_with_four_writers_at_once[postgres]",),
                (f"{_STORE}::test_feed_messages_carry_the_hash_before_them_and_join_up[postgres]",),
            ),
        ),
    ),
    Mechanism(
        "open-after-fork pool",
        "two children of a worker speak over one connection to Postgres and take each other's answers",
        (
            Switch(
                "the pool is opened before the fork and inherited",
                (
                    Edit(
                        "workers/process.py",
                        "    global _worker_name\n    _worker_name = sender\n",
                        "    global _worker_name\n    _worker_name = sender\n    _ = parts().persister\n",
                    ),
                    Edit(
                        "workers/process.py",
                        "def _forget_inherited(**_: Any) -> None:\n    global _parts\n    _parts = None\n",
                        "def _forget_inherited(**_: Any) -> None:\n    return\n",
                    ),
                ),
                (f"{_TASKS}::test_two_children_at_work_at_once_never_take_each_other_s_answers",),
                ("tests/integration/celery_validate_test.py::test_each_call_of_a_batch_gets_its_verdict_in_order",),
            ),
        ),
    ),
    Mechanism(
        "body limit",
        "one client fills the gateway's memory, and nobody's calls are answered",
        (
            Switch(
                "bodies of any size are taken",
                (
                    Edit(
                        "app/entry/gateway/connection.py",
                        "BODY_BYTES_MAX: Final = 1024 * 1024\n",
                        "BODY_BYTES_MAX: Final = 1 << 62\n",
                    ),
                ),
                (
                    f"{_BORDER}::test_ten_megabytes_are_refused_and_the_answer_arrives",
                    f"{_BORDER}::test_a_chunked_body_is_bounded_too",
                ),
                (f"{_BORDER}::test_a_chunked_call_is_decided",),
            ),
        ),
    ),
    Mechanism(
        "schema check",
        "a call whose fields are not what they seem is judged, and may be approved, as another call",
        (
            Switch(
                "bodies become calls without a look at their types",
                (
                    Edit(
                        "app/entry/gateway/bodies.py",
                        "call = _one.decode(body)",
                        "call = ToolCall(**msgspec.json.decode(body))",
                    ),
                ),
                (f'{_NOT_A_CALL}[{{"tool": "Bash", "input": "ls", "agent": "a"}}-input]',),
                (f"{_BORDER}::test_a_chunked_call_is_decided",),
            ),
            Switch(
                "task payloads of any type and format are taken",
                (
                    Edit(
                        "app/core/messages.py",
                        "    except msgspec.DecodeError as error:\n"
                        '        raise PayloadRefused(f"{kind.__name__}: {error}") from error\n'
                        '    wanted = getattr(kind, "FORMAT", FORMAT)\n'
                        '    if getattr(message, "format", wanted) != wanted:\n',
                        "    except msgspec.ValidationError:\n"
                        "        return kind(*msgspec.msgpack.decode(data))\n"
                        "    wanted = FORMAT\n"
                        "    if False:\n",
                    ),
                ),
                (
                    f"{_PAYLOADS}::test_a_payload_with_a_field_of_another_type_reaches_no_worker",
                    f"{_PAYLOADS}::test_a_payload_of_another_format_is_not_read_as_ours",
                ),
                (f"{_PAYLOADS}::test_what_was_encoded_is_decoded_as_it_was",),
            ),
        ),
    ),
    Mechanism(
        "fail-closed answer",
        "whatever goes wrong while a call is decided approves it",
        (
            Switch(
                "the gateway approves where its policy fails",
                (
                    Edit(
                        "app/services/validation.py",
                        'return Judgement(Verdict.BLOCK, (), reason, "see `weir doctor`, then try again"',
                        'return Judgement(Verdict.APPROVE, (), reason, "see `weir doctor`, then try again"',
                    ),
                ),
                (f"{_ANSWERS}::test_a_policy_that_fails_here_blocks",),
                (f"{_ANSWERS}::test_a_degraded_answer_is_never_cached",),
            ),
            Switch(
                "a worker approves what it cannot judge",
                (
                    Edit(
                        "app/services/worker_validation.py",
                        "                verdict=Verdict.BLOCK,\n                rules=(),",
                        "                verdict=Verdict.APPROVE,\n                rules=(),",
                    ),
                ),
                (f"{_SERVICES}::test_a_call_that_cannot_be_judged_is_blocked_and_the_rest_is_answered",),
                (f"{_SERVICES}::test_a_batch_of_another_project_is_refused",),
            ),
            Switch(
                "what cannot be recorded keeps its verdict",
                (
                    Edit(
                        "app/services/answering.py",
                        "Judgement(Verdict.BLOCK, (), reason, remedy, answered.ground.policy_version)",
                        "Judgement(answered.verdict, (), reason, remedy, answered.ground.policy_version)",
                    ),
                ),
                (f"{_ANSWERS}::test_a_spool_that_is_full_blocks_every_call_even_a_cached_one",),
                (f"{_ANSWERS}::test_many_calls_at_once_come_back_in_their_order",),
            ),
            Switch(
                "the agent's hook allows where no gateway answers",
                (
                    Edit(
                        "app/entry/cli/hook.py",
                        '"permissionDecision": "deny", "permissionDecisionReason"',
                        '"permissionDecision": "allow", "permissionDecisionReason"',
                    ),
                ),
                (f"{_GATEWAY}::test_the_hook_command_denies_when_no_gateway_answers",),
                (f"{_GATEWAY}::test_a_wrongly_configured_hook_refuses_with_2",),
            ),
        ),
    ),
    Mechanism(
        "worker summary",
        "Flower shows that tasks ran, but not how many calls or writes they held and what became of them",
        (
            Switch(
                "tasks return nothing",
                (
                    Edit(
                        "workers/tasks.py",
                        '    return cast("Callable[[F], F]", registered)',
                        "    def silenced(body: F) -> Any:\n"
                        "        def silent(self: QuietTask, given: bytes) -> None:\n"
                        "            body(self, given)\n\n"
                        "        return registered(silent)\n\n"
                        '    return cast("Callable[[F], F]", silenced)',
                    ),
                ),
                (f"{_WORKERS}::test_finished_tasks_show_counts_and_never_their_payload",),
                (f"{_WORKERS}::test_an_escalation_that_nobody_answers_comes_back_as_a_block",),
            ),
        ),
    ),
    Mechanism(
        "drain on stop",
        "what was written and decided just before a stop is in no log until the next start, perhaps on another day",
        (
            Switch(
                "the courier ends as soon as it is told to",
                (
                    Edit(
                        "app/services/courier.py",
                        'if leave and (self.status.state == "stopped" or self.is_drained):',
                        "if leave:",
                    ),
                ),
                (f"{_COURIER}::test_a_stop_waits_until_all_that_was_written_is_in_the_store",),
                (f"{_COURIER}::test_everything_journalled_arrives_in_order_and_whole",),
            ),
            Switch(
                "the gateway ends without shipping its spool",
                (
                    Edit(
                        "app/services/spool_shipping.py",
                        "while not self._stop.is_set() or (self._monotonic() < self._deadline_s and not self.is_drained):",
                        "while not self._stop.is_set():",
                    ),
                ),
                (f"{_SPOOL}::test_answers_that_wait_for_redis_at_a_stop_are_shipped_when_it_is_back",),
                (f"{_SPOOL}::test_redis_away_keeps_the_answers_and_stop_is_bounded",),
            ),
            Switch(
                "the mount ends without making events of what is open",
                (
                    Edit(
                        "fuse_mount/session.py",
                        "            self.state.changes.seal_older_than(-1.0)\n",
                        "            pass\n",
                    ),
                ),
                (f"{_DRAIN}::test_what_a_program_left_open_is_an_event_when_the_mount_has_stopped",),
                (f"{_CRASH}::test_unsealed_bytes_become_an_event_within_two_seconds",),
            ),
        ),
    ),
)
