"""The tests of real guests that `make test` leaves out on this machine's own Debian.

`make soak` runs them all.

Each is a variant of one that `make test` runs: another signal, another moment, another kind of
image under the same rule. A rule that breaks for all of them is seen by the one that stays; these
take longer than everything else. Those that stand in tests/guests/both.py as well are run by
`make test` on the other Debian alone: once is enough. What is named exists: tests/unit/test_both.py
asks.
"""

from __future__ import annotations

_BY_FILE = {
    # What the lab itself can do, and other tests use.
    "test_lab.py": [
        "a_guests_second_is_a_second[False]",
        "a_state_that_can_not_be_loaded_is_made_anew",
        "suspend_and_wake",
        "reset_brings_the_same_guest_back",
        "throttled_disk_makes_a_freeze_slow",
        "isa_serial_agent_without_a_monitor",
        "swap_extra_port_throttle_and_power_off",
        "main_takes_everything_down_on_a_signal[2]",
        "main_takes_everything_down_on_a_signal[15]",
        "a_guest_that_goes_on_from_a_saved_state_is_as_one_that_booted",
        "shell_takes_and_gives_much",
        "a_reset_by_somebody_else_is_noticed",
        "main_runs_a_command_with_guests_alive",
        "a_guests_second_is_a_second[True]",
        "respawn_never_at_once_and_later",
        "no_qemu_outlives_a_killed_test_run",
    ],
    # How a freeze is lost.
    "test_freeze_window.py": [
        "a_guest_that_swaps_writes_rightly_and_is_told",
    ],
    "test_channel_ports.py": [
        "a_serial_port_has_no_state[unknown]",
        "on_a_serial_port_the_order_of_replies_tells",
    ],
    "test_console_copies.py": [
        "a_folder_whose_storage_hangs_keeps_neither_the_form_nor_the_console",
    ],
    "test_monitor.py": [
        "a_reset_is_proven_by_its_event_alone[held]",
        "a_reset_is_proven_by_its_event_alone[polled]",
        "every_immediate_respawn_is_counted[6]",
        "waking_up_is_no_reset",
    ],
    "test_lost_agent.py": [
        "before_the_freeze_it_is_refused[TERM]",
        "before_the_freeze_and_back_it_is_certified[at-once-TERM]",
        "before_the_freeze_and_back_it_is_certified[later-KILL]",
        "killed_in_the_hook_it_is_lost[later]",
        "terminated_in_the_hook_its_success_is_partial[later]",
        "killed_half_way_it_is_partial_whatever_the_next_agent_says[later]",
        "killed_while_held_the_window_is_at_risk_and_settled[later]",
        "killed_in_the_hook_it_is_lost[at-once]",
        "killed_while_held_the_window_is_at_risk_and_settled[at-once]",
        "terminated_in_the_hook_its_success_is_partial[never]",
        "killed_half_way_it_is_partial_whatever_the_next_agent_says[never]",
        "before_the_freeze_and_back_it_is_certified[later-TERM]",
    ],
    "test_lost_guest.py": [
        "reset_in_the_hook[events]",
        "reset_while_held_breaks_the_window[polling]",
        "a_port_whose_driver_is_loaded_anew_is_no_reset[half-way]",
        "qemu_killed[in-the-hook-no-monitor]",
        "qemu_killed[held-no-monitor]",
        "powered_off_in_the_hook[qemu-stays]",
        "panic_without_pvpanic_looks_like_a_slow_hook",
        "reset_in_the_hook[polling]",
        "reset_while_held_breaks_the_window[events]",
        "panic_with_pvpanic_is_known_at_once",
        "qemu_killed[held-monitor]",
    ],
    "test_libvirt.py": [
        "killed_in_the_hook_it_is_lost[later]",
        "frozen_by_another_client_it_is_refused_and_stays_frozen",
        "killed_in_the_hook_it_is_lost[never]",
    ],
    "test_libvirt_by_hand.py": [
        "it_is_reset",
        "it_is_woken_up",
        "one_that_is_off_is_started",
        "what_is_copied_is_seen",
        "how_far_a_migration_is_is_seen",
        "on_another_host_it_is_done_from_here",
    ],
    "test_libvirt_daemons.py": [
        "a_domain_that_is_destroyed_under_a_freeze_is_gone",
        "whatever_ends_the_console_the_guest_is_thawed[sent]",
    ],
    "test_lost_silent.py": ["suspended_in_the_hook_the_true_reply_comes_after_waking_up[events]"],
    "test_lost_latency.py": [
        "no_lost_command_stays_unnoticed[no-id-polled-at-once-5]",
        "no_lost_command_stays_unnoticed[id-polled-never-5]",
        "no_lost_command_stays_unnoticed[id-held-at-once-5]",
        "no_lost_command_stays_unnoticed[no-id-polled-never-5]",
        "no_lost_command_stays_unnoticed[id-held-never-5]",
    ],
    "test_channel_away.py": [
        "a_channel_that_breaks_while_it_is_held_is_had_again[5.0-no-monitor]",
        "the_holder_of_a_dead_console_has_a_broken_channel_again[broken-first]",
    ],
    "test_freeze_slow.py": [
        "a_hook_of_30_s_is_watched_through",
        "a_slow_flush_is_told_from_nothing_and_verified",
        "a_late_reply_is_adopted_with_its_true_error",
    ],
    "test_group.py": [
        "the_skew_of_three_idle_guests",
        "a_refused_one_has_the_others_thawed",
        "one_that_is_too_slow_has_the_others_thawed",
    ],
    "test_peer.py": [
        "qemu_listens_itself_however_it_is_started[runas]",
        "qemu_listens_itself_however_it_is_started[fd]",
        "qemu_listens_itself_however_it_is_started[daemonize]",
        "qemu_listens_itself_however_it_is_started[namespace]",
        "another_vm_in_a_forwards_place_is_not_thawed_instead[holder]",
    ],
    # What others freeze.
    "test_others_watch.py": [
        "an_agent_that_is_killed_loses_their_command",
        "a_client_that_leaves_while_its_freeze_is_pending",
        "the_fleet_tells_what_others_have_pending_and_lost",
    ],
    "test_others_worker.py": [
        "an_agent_that_is_killed_has_lost_a_workers_freeze[later]",
        "a_panic_has_lost_a_workers_freeze",
        "a_reset_has_lost_a_workers_freeze",
        "an_agent_that_is_killed_has_lost_a_workers_freeze[never]",
        "a_worker_that_is_killed_while_its_freeze_is_pending_leaves_the_guest_frozen",
        "who_is_killed_after_the_thaw_leaves_nothing",
    ],
    # Copies.
    "test_backup.py": [
        "an_operators_week_of_backups",
        "a_chain_restores_each_window[drive]",
        "a_disk_stays_the_same_whatever_its_node_is_called",
        "a_record_that_a_killed_qemu_has_left_is_not_relied_on_and_goes_with_a_full_one",
    ],
    "test_threads.py": [
        "a_copy_that_is_refused_while_another_ones_hangs_holds_nobody_up",
        "a_mirror_that_is_stopped_while_its_target_hangs_keeps_nobody_waiting",
        "a_mirrors_target_that_hangs_keeps_no_write_waiting",
    ],
    "test_snapshot.py": [
        "a_disk_that_can_hold_none_is_refused[blockdev]",
        "a_snapshot_under_load_is_consistent_and_one_without_a_freeze_is_not[internal]",
        "overlays_are_folded_back_under_load_the_newest_first",
        "a_disk_that_can_hold_none_is_refused[drive]",
        "a_snapshot_under_load_is_consistent_and_one_without_a_freeze_is_not[external]",
        "the_told_commands_go_back_to_it_with_the_vm_off",
    ],
    "test_snapshot_faults.py": [
        "what_is_not_certified_is_kept_and_marked_if_that_is_allowed[internal]",
        "a_qemu_that_stands_still_for_a_while_is_waited_for[external]",
        "a_qemu_that_stands_still_for_too_long_leaves_nothing[internal]",
        "a_snapshot_that_was_taken_without_an_answer_is_found_and_undone[external]",
        "a_vm_that_ends_in_the_window_leaves_what_is_named[internal]",
        "a_console_that_is_killed_in_the_window_leaves_the_guest_thawed[before-internal]",
        "a_console_that_is_killed_in_the_window_leaves_the_guest_thawed[after-external]",
        "what_is_not_certified_is_undone_if_that_is_required[agent-external]",
        "a_console_that_is_killed_in_the_window_leaves_the_guest_thawed[after-internal]",
        "what_is_not_certified_is_undone_if_that_is_required[reset-external]",
        "what_is_not_certified_is_undone_if_that_is_required[agent-internal]",
        "an_overlay_that_another_adds_meanwhile_stays_and_nothing_is_taken",
    ],
    "test_mirror.py": [
        "mirrors_under_load_are_consistent[raw]",
        "one_of_two_that_is_ended_takes_the_other_with_it[ready]",
        "cancelled_at_any_stage_it_leaves_nothing[ready]",
        "cancelled_at_any_stage_it_leaves_nothing[freezing]",
        "a_qemu_that_is_killed_ends_it[starting]",
        "a_console_that_is_killed_leaves_what_the_next_one_ends[ready]",
        "one_of_two_that_is_ended_takes_the_other_with_it[starting]",
        "cancelled_at_any_stage_it_leaves_nothing[starting]",
        "a_guest_that_is_reset_in_the_window_gives_no_copy",
        "mirrors_under_load_are_consistent[qcow2]",
        "a_reset_while_it_waits_is_no_more_than_writes",
        "without_a_freeze_it_needs_recovery_and_is_of_one_moment_all_the_same",
        "a_vm_without_an_agent_is_paused_and_goes_on",
    ],
    "test_backup_faults.py": [
        "a_target_that_becomes_full_breaks_the_backup_alone[folder]",
        "qemu_killed[copying]",
        "without_a_fleece_the_vm_that_a_full_target_stops_goes_on",
        "a_guest_that_others_thaw_before_the_copy_is_taken[prefer]",
        "a_reset_while_copying_changes_nothing",
        "a_reset_in_the_window_is_no_consistent_copy",
        "a_target_that_hangs_for_a_while_breaks_nothing",
        "files_that_are_moved_away_while_they_are_written_are_named",
        "what_is_taken_while_the_guest_is_being_thawed_is_not_consistent[off-BlockLayer-transaction]",
    ],
    "test_command.py": [
        "one_that_fails_or_is_killed_is_no_copy[kill -SEGV $$-None-SIGSEGV]",
        "one_that_floods_a_pipe_that_nobody_reads_delays_no_thaw[False]",
        "a_signal_thaws_and_ends_the_command[15]",
        "two_guests_are_frozen_while_it_runs[False]",
        "if_one_guest_cannot_be_frozen_nothing_is_run[False]",
        "a_signal_thaws_and_ends_the_command[1]",
        "a_window_that_breaks_is_told_while_the_command_runs[reset]",
        "what_cannot_be_run_freezes_nothing[words1]",
        "what_cannot_be_run_freezes_nothing[words2]",
        "what_cannot_be_run_freezes_nothing[words4]",
        "what_cannot_be_run_freezes_nothing[words5]",
        "two_guests_are_frozen_while_it_runs[True]",
        "one_that_fails_or_is_killed_is_no_copy[kill -KILL $$-None-SIGKILL]",
    ],
    "test_command_jobs.py": ["disks_that_are_left_out_of_it_may_be_told"],
    "test_libvirt_copies.py": [
        "backups_full_and_incremental_are_consistent",
        "a_snapshot_is_consistent_listed_and_folded_back",
    ],
    # Who thaws.
    "test_migration.py": [
        "a_guest_that_migrates_within_this_host_is_thawed_there[source-stays]",
    ],
    "test_cli.py": ["a_signal_thaws_first[15]", "a_signal_thaws_first[1]"],
    "test_console.py": [
        "whatever_ends_the_console_the_guest_is_thawed[SIGHUP]",
        "whatever_ends_the_console_the_guest_is_thawed[SIGTERM]",
    ],
    "test_handed_over.py": [
        "a_console_without_descriptors_for_a_while_keeps_its_freeze[none at all]",
    ],
    "test_holder.py": [
        "console_and_agent_killed_together[later]",
        "console_and_qemu_killed_together[sent]",
        "three_guests_of_a_killed_console[3]",
        "console_and_agent_killed_together[at-once]",
        "a_stopped_console_is_taken_over_at_the_holds_end",
    ],
    "test_recovery.py": ["the_next_list_tells_it_and_a_thaw_needs_no_foreign"],
    # When a guest stays frozen.
    "test_rescue.py": [
        "sysrq_is_seen_on_an_idle_guest_too[serial]",
        "sysrq_that_is_not_allowed_does_nothing[key]",
        "sysrq_is_seen_by_its_writes[serial]",
        "a_panicked_guest_is_reset_and_has_to_be_resumed",
        "a_reset_of_a_paused_vm_says_that_it_stays_paused",
        "connecting_alone_releases_an_agent_that_spins",
        "sysrq_is_seen_by_its_writes[key]",
        "a_reset_needs_the_name_and_leaves_nothing_frozen",
        "a_console_behind_a_terminal_and_no_keyboard",
    ],
    "test_channel_foreign.py": [
        "what_a_dead_client_left_is_skipped[stale-sync]",
        "what_a_dead_client_left_is_skipped[noise]",
    ],
    "test_left_copies.py": [
        "a_vm_goes_on_when_frostwatch_is_stopped_in_the_middle_of_a_visit[cont-none]",
        "a_vm_goes_on_when_frostwatch_is_stopped_in_the_middle_of_a_visit[stop-none]",
    ],
    "test_hung_storage.py": [
        "a_command_ends_though_its_files_can_not_be_made_and_they_are_not_left[fleece]",
        "a_command_ends_though_its_files_can_not_be_made_and_they_are_not_left[snapshot]",
    ],
}
SELDOM = frozenset(
    f"tests/guests/{file}::test_{name}" for file, names in _BY_FILE.items() for name in names
)
