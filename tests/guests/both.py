"""The tests of real guests that are run on both Debians: on this machine's own, and on the other.

`make test` runs the tests of real guests on this machine's own QEMU, and these on the QEMU, the
kernel and the agent of the other release: each kind of evidence, of loss, of thaw and of rescue,
once or twice. Those that tests/guests/seldom.py names too, and what is only about QEMU and the
agent (`test_facts_…`), are run there alone. What is named here exists: tests/unit/test_both.py
asks.
"""

from __future__ import annotations

_BY_FILE = {
    # What is seen, and what follows from it.
    "test_sources.py": ["a_guest_is_found_with_its_sockets"],
    "test_freeze_whole.py": [
        "freeze_is_verified_held_thawed_and_certified",
        "what_cannot_freeze_is_named",
        "without_a_monitor_the_missing_evidence_is_named",
    ],
    "test_freeze_window.py": ["thawed_inside_the_counts_differ"],
    "test_freeze_slow.py": [
        "a_late_reply_is_adopted_with_its_true_error",
        "a_slow_flush_is_told_from_nothing_and_verified",
    ],
    "test_facts_channel.py": [
        "fact_monitor_shows_both_ends",
        "fact_ids_are_echoed",
        "fact_restart_moves_used_idx",
    ],
    "test_facts_freeze.py": [
        "fact_thaw_counts_what_was_frozen",
        "fact_failed_hook_gets_no_thaw_hook",
        "fact_half_frozen_says_frozen",
        "fact_sigterm_answers_success_and_thaws",
    ],
    "test_facts_copy.py": [
        "fact_internal_snapshots_of_one_transaction[drive]",
    ],
    "test_facts_fleecing.py": [
        "fact_a_backup_to_a_failing_target_fails_the_guests_writes[blockdev]",
        "fact_a_device_that_is_given_the_node_that_it_has_ends_qemu[blockdev]",
    ],
    "test_facts_jobs.py": [
        "fact_what_a_job_reads_and_writes_is_not_counted_as_the_guests[drive]",
        "fact_a_bitmap_of_the_same_transaction_makes_the_next_backup_incremental[blockdev]",
    ],
    # Under libvirt.
    "test_libvirt.py": [
        "it_is_frozen_held_thawed_and_certified",
        "killed_in_the_hook_it_is_lost[at-once]",
        "paused_while_held_it_is_thawed_once_it_goes_on",
        "saved_while_it_is_held_it_is_frozen_still_where_it_goes_on",
    ],
    "test_libvirt_copies.py": [
        "backups_full_and_incremental_are_consistent",
        "a_snapshot_is_consistent_listed_and_folded_back",
    ],
    "test_libvirt_daemons.py": [
        "a_daemon_that_dies_under_a_pending_freeze_loses_it_and_the_guest_is_thawed",
        "whatever_ends_the_console_the_guest_is_thawed[held]",
    ],
    "test_command.py": ["two_guests_are_frozen_while_it_runs[True]"],
    "test_lab_copies.py": [
        "a_copy_under_a_freeze_is_consistent_and_one_without_is_not[wal-x-xfs]",
    ],
    "test_monitor.py": [
        "was_it_read",
        "every_immediate_respawn_is_counted[6]",
        "a_reset_is_proven_by_its_event_alone[polled]",
        "without_queues_a_freeze_is_verified_all_the_same",
    ],
    # How a freeze is lost, or its answer late.
    "test_lost_agent.py": [
        "killed_in_the_hook_it_is_lost[at-once]",
        "terminated_in_the_hook_its_success_is_partial[at-once]",
        "killed_half_way_it_is_partial_whatever_the_next_agent_says[at-once]",
        "killed_while_held_the_window_is_at_risk_and_settled[at-once]",
    ],
    "test_lost_guest.py": [
        "reset_in_the_hook[polling]",
        "reset_while_held_breaks_the_window[events]",
        "panic_with_pvpanic_is_known_at_once",
        "qemu_killed[held-monitor]",
    ],
    "test_lost_silent.py": [
        "stopped_in_the_hook_it_is_pending_until_it_goes_on",
        "paused_in_the_hook_it_is_blocked_and_goes_on",
    ],
    "test_channel_ports.py": ["on_a_serial_port_the_order_of_replies_tells"],
    # What others freeze.
    "test_others_watch.py": ["the_fleet_tells_what_others_have_pending_and_lost"],
    "test_others_worker.py": [
        "an_agent_that_is_killed_has_lost_a_workers_freeze[never]",
        "a_worker_that_is_killed_while_its_freeze_is_pending_leaves_the_guest_frozen",
    ],
    # Copies.
    "test_backup.py": ["a_chain_restores_each_window[drive]"],
    "test_backup_faults.py": ["a_target_that_hangs_for_a_while_breaks_nothing"],
    "test_threads.py": [
        "fact_threads_are_kept_from_the_moment_that_they_are_asked_for",
        "a_mirrors_target_that_hangs_keeps_no_write_waiting",
    ],
    "test_left_copies.py": [
        "a_vm_goes_on_when_frostwatch_is_stopped_in_the_middle_of_a_visit[transaction-half]",
    ],
    "test_mirror.py": ["mirrors_under_load_are_consistent[qcow2]"],
    # Who thaws.
    "test_thaw_alone.py": [
        "a_failing_thaw_hook_is_told_and_everything_is_thawed",
        "killed_in_the_thaw_hook_the_next_agent_thaws",
    ],
    "test_channel_foreign.py": [
        "a_foreign_freeze_is_found_shown_and_thawed_on_request_only",
        "a_dead_clients_queued_freeze_is_foreign_and_its_agent_is_released",
    ],
    "test_holder.py": [
        "console_and_agent_killed_together[at-once]",
        "a_stopped_console_is_taken_over_at_the_holds_end",
    ],
    "test_console.py": ["whatever_ends_the_console_the_guest_is_thawed[SIGKILL]"],
    # When a guest stays frozen.
    "test_rescue.py": [
        "connecting_alone_releases_an_agent_that_spins",
        "sysrq_is_seen_by_its_writes[key]",
        "a_reset_needs_the_name_and_leaves_nothing_frozen",
    ],
    # Copies.
    "test_snapshot.py": [
        "a_snapshot_under_load_is_consistent_and_one_without_a_freeze_is_not[internal]",
        "a_snapshot_under_load_is_consistent_and_one_without_a_freeze_is_not[external]",
        "overlays_are_folded_back_under_load_the_newest_first",
    ],
    "test_snapshot_faults.py": [
        "what_is_not_certified_is_undone_if_that_is_required[agent-internal]",
    ],
    "test_recovery.py": ["the_next_list_tells_it_and_a_thaw_needs_no_foreign"],
}
CHOSEN = frozenset(
    f"tests/guests/{file}::test_{name}" for file, names in _BY_FILE.items() for name in names
)
