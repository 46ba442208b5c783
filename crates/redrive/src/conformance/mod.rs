//! The suite that defines a backend: every test here runs on every backend, none is skipped.
//!
//! A backend takes part with one line of [`backends!`] and a [`Bench`]. A test is an
//! `async fn name(lab: &dyn Lab)` in the file of the verb it is about, and its name stands in
//! [`every_test!`]; one that does not stand there is unused code, which the gate refuses.

mod audit;
mod begin;
mod books;
mod bytes;
mod campaigns;
mod consumers;
mod crashes;
mod dead_letters;
mod doctor;
mod entries;
mod exhausted;
mod group;
mod import;
mod kept;
mod lab;
mod limits;
mod look;
mod members;
mod names;
mod pages;
mod quarantine;
mod receive;
mod renew;
mod replay;
mod room;
mod settle;
mod sizes;
mod spilling;
mod stale;
mod stats;
mod sums;
mod takeover;
mod trim;
mod trimmed;
mod waiting;

pub(crate) use lab::{Bench, Lab, Row, StateParts};
pub(crate) use room::seated;

/// Calls a macro with what it was given and the list of all tests, by file.
macro_rules! every_test {
    ($make:ident! { $($given:tt)* }) => {
        $make! {
            $($given)*
            entries: [
                ids_grow_in_the_order_of_adding,
                more_than_one_load_is_added_whole_and_in_order,
                a_range_has_both_its_ends_and_no_more_than_its_limit,
                a_missing_stream_has_no_entries,
                a_key_that_is_no_stream_is_an_error_of_that_kind,
                a_queue_that_is_no_stream_is_not_an_empty_one,
                an_entry_without_fields_is_refused_and_nothing_is_added,
                the_length_of_a_stream_is_what_is_in_it,
                an_erased_source_leaves_nothing_behind,
            ];
            pages: [
                a_page_goes_on_where_the_last_one_ended,
                a_page_holds_no_more_than_its_weight_and_one_that_is_heavier_alone,
                many_small_fields_weigh_as_well,
                entries_by_name_are_answered_in_their_order_and_as_many_as_fit,
                a_page_of_what_is_no_stream_is_an_error_of_that_kind,
            ];
            receive: [
                each_entry_goes_to_one_consumer_in_stream_order,
                a_read_that_does_not_wait_answers_at_once,
                a_waiting_read_gets_what_is_added_meanwhile,
                a_waiting_read_ends_empty_when_its_time_is_over,
                many_waiting_readers_miss_nothing_and_share_nothing,
                waking_ends_a_waiting_read_and_delivers_nothing,
                a_new_group_starts_where_it_is_told,
                an_existing_group_is_taken_as_it_is,
                every_group_receives_everything,
                the_clock_of_the_server_is_known_from_the_first_message_on,
            ];
            bytes: [
                fields_of_any_bytes_survive_death_and_replay,
                a_mebibyte_survives_death_and_replay,
                ten_thousand_fields_survive_death_and_replay,
            ];
            campaigns: [
                a_campaign_begins_once_and_goes_on_with_the_same_selection_alone,
                a_campaign_is_told_how_it_stands_and_does_not_begin_again,
                what_a_campaign_puts_back_is_noted_with_it_however_often_it_is_asked,
                what_dies_again_is_noted_in_the_step_in_which_it_dies,
                what_nobody_was_given_is_parked_again_byte_for_byte_and_once,
                what_was_given_to_a_group_is_not_undone,
                a_copy_is_undone_without_a_second_dead_letter,
                what_is_not_kept_is_not_undone_and_a_look_changes_nothing,
            ];
            audit: [
                what_is_recorded_is_told_the_newest_first_and_page_by_page,
            ];
            takeover: [
                what_a_silent_consumer_holds_is_taken_over_after_its_lease,
                the_lease_of_the_holder_counts_not_that_of_the_taker,
                a_foreign_consumer_has_the_foreign_lease,
                a_consumer_finds_again_what_it_has_lost_track_of,
                one_sweep_reaches_the_last_of_ten_thousand,
                rounds_take_no_more_than_asked_and_leave_nothing_out,
                what_is_looked_at_together_keeps_its_own_bytes,
                two_rounds_at_once_never_take_the_same,
                state_left_by_foreign_acks_is_cleaned,
                state_of_others_is_cleaned_while_some_are_pending,
            ];
            waiting: [
                a_waiting_message_is_not_taken_over_before_it_is_due,
                a_waiting_message_is_kept_by_its_owner,
                a_due_message_is_taken_at_once_whoever_has_it,
                due_messages_are_taken_in_the_order_of_their_times,
                the_time_to_the_next_due_message_is_told,
                a_due_time_of_an_earlier_delivery_is_dropped,
                a_due_time_of_an_earlier_delivery_protects_nobody,
                due_messages_count_among_those_asked_for,
            ];
            begin: [
                a_begin_charges_one_delivery,
                the_same_nonce_charges_once,
                another_nonce_finds_the_delivery_gone_on,
                who_does_not_own_it_may_not_begin,
                what_waits_may_not_begin,
                what_is_no_longer_pending_is_gone,
                what_was_trimmed_dies_instead,
                what_was_handed_back_and_trimmed_is_told_again_whatever_the_charge,
                a_tombstone_that_cannot_be_written_leaves_it_pending,
                answers_come_in_the_order_of_the_questions,
                of_two_takers_only_the_last_begins,
            ];
            renew: [
                a_renewed_message_is_not_taken_over,
                a_renewal_does_not_look_like_a_delivery,
                a_renewal_never_takes_a_message_back,
                a_renewal_with_an_old_token_is_lost,
                a_renewal_of_what_is_not_pending_is_gone,
                a_renewal_of_what_was_trimmed_tells_the_tombstone,
                a_renewal_whose_tombstone_is_refused_leaves_it_pending,
                renewals_answer_in_the_order_of_the_questions,
                a_look_whether_writes_are_taken_changes_nothing,
            ];
            crashes: [
                every_begun_run_that_did_not_end_is_one_crash,
                taking_over_without_beginning_is_no_crash,
                a_lease_lost_before_the_next_begin_is_no_crash,
                a_lease_lost_after_the_next_begin_is_taken_back_once,
                who_never_began_takes_nothing_back,
                every_stale_answer_takes_the_crash_back,
                a_stale_answer_before_the_next_begin_takes_the_crash_back,
                a_run_that_ended_is_no_crash,
                handing_back_what_was_not_begun_forgives_nothing,
                foreign_deliveries_are_worth_one_crash,
                failures_survive_crashes,
            ];
            quarantine: [
                the_last_crash_alone_of_too_many_is_a_dead_letter,
                crashes_beside_others_are_never_a_dead_letter,
                only_the_last_crash_counts_as_alone,
                a_run_alone_that_ended_is_no_crash,
                a_success_alone_ends_it,
                a_verdict_waits_for_who_is_only_slow,
                whatever_its_holder_says_while_it_is_doubted_counts,
                a_lease_lost_alone_is_no_crash,
                a_lost_lease_is_taken_back_from_a_later_run_alone,
                a_begin_judges_as_a_claim_does,
                attempts_that_are_used_up_are_the_reason_before_crashes,
                a_crash_loop_tells_the_last_error_where_there_is_one,
                each_layout_tells_a_crash_loop,
                before_a_full_queue_it_is_kept_and_not_run_again,
                foreign_crashes_convict_nobody,
                what_is_trimmed_while_it_is_doubted_is_a_loss,
            ];
            settle: [
                an_ack_ends_it,
                an_ack_of_a_taken_over_message_removes_its_hints,
                hints_behind_a_late_ack_of_a_first_delivery_are_cleaned,
                an_ack_needs_no_lease,
                an_acknowledged_entry_stays_unless_it_is_to_be_deleted,
                a_retry_records_one_failure_and_stays_pending,
                a_retry_asked_twice_records_one_failure,
                a_retry_repeated_after_it_was_taken_records_nothing_more,
                a_retry_repeated_after_its_own_takeover_records_nothing_more,
                failures_add_up_and_the_first_is_remembered,
                a_long_error_is_cut_between_characters,
                a_defer_charges_nothing,
                a_defer_asked_twice_keeps_its_first_due_time,
                what_was_taken_over_may_be_deferred_again,
                a_released_message_is_taken_at_once,
                a_release_asked_twice_is_done_once,
                one_bad_settlement_does_not_stop_the_others,
            ];
            kept: [
                a_kept_retry_records_one_failure_and_is_due_for_nobody,
                a_kept_defer_charges_nothing,
                a_kept_retry_asked_twice_records_one_failure,
                its_holder_begins_what_is_kept_under_the_count_it_has,
                a_kept_retry_repeated_after_its_begin_records_nothing_more,
                what_is_kept_is_renewed_by_its_holder,
                what_a_dead_holder_kept_is_taken_over_with_its_failures_and_no_crash,
                what_is_kept_and_handed_back_is_taken_at_once,
                who_lost_it_keeps_nothing,
                what_turns_out_trimmed_when_it_is_to_be_kept_dies_with_its_bytes,
                what_is_trimmed_while_it_is_kept_leaves_a_tombstone_with_its_failures,
                a_kept_message_is_given_up_by_the_run_after_it,
            ];
            stale: [
                who_lost_it_records_nothing,
                an_old_token_of_the_same_consumer_records_nothing,
                what_is_not_pending_is_gone_and_its_hints_with_it,
                of_two_that_give_it_up_at_once_one_does,
            ];
            dead_letters: [
                a_dead_letter_says_what_happened_and_keeps_the_bytes,
                a_run_that_did_not_fail_is_not_counted_as_one,
                a_dead_letter_asked_for_twice_is_one,
                booked_crashes_are_told_and_the_last_run_is_none,
                a_refused_dead_letter_leaves_the_message_pending,
                the_flat_layout_is_written_where_chosen,
                the_envelope_layout_is_written_where_chosen,
                what_an_envelope_cannot_hold_is_written_native,
            ];
            exhausted: [
                eight_claimants_of_a_hundred_make_a_hundred_dead_letters,
                a_dead_letter_of_a_takeover_tells_the_last_error,
                what_has_failed_less_often_is_taken_over,
                a_refused_dead_letter_of_a_takeover_is_told_and_tried_again,
            ];
            trimmed: [
                a_takeover_of_what_was_trimmed_leaves_a_tombstone,
                what_was_trimmed_is_left_to_its_live_holder,
                a_waiting_message_that_was_trimmed_leaves_a_tombstone,
                a_due_message_that_was_trimmed_leaves_a_tombstone,
                what_was_put_back_and_trimmed_is_left_to_the_next_round,
                tombstones_of_waiting_messages_count_among_those_asked_for,
                success_removes_the_tombstone,
                anything_but_success_puts_the_bytes_in_place_of_the_tombstone,
                the_full_copy_counts_what_was_recorded_before,
                what_was_known_survives_a_tombstone_that_cannot_say_it,
                the_error_on_an_envelopes_tombstone_survives,
                a_run_that_failed_without_words_keeps_no_older_error,
                a_tombstone_that_is_gone_is_not_replaced,
                what_turns_out_trimmed_when_it_ends_dies_with_its_bytes,
                an_ack_of_what_was_trimmed_leaves_nothing,
                a_tombstone_that_nobody_was_told_of_goes_with_success,
                a_tombstone_that_nobody_was_told_of_gets_its_bytes,
                what_anothers_claim_buried_is_still_its_holders,
                an_older_delivery_may_lift_a_tombstone_and_not_rewrite_it,
                a_claim_asked_again_writes_nothing_twice,
            ];
            trim: [
                what_is_pending_and_what_is_unread_stays,
                the_group_that_has_come_least_far_decides,
                without_a_group_nothing_goes,
                a_vanished_group_keeps_what_is_above_its_mark,
                a_group_restored_after_a_trim_repeats_nothing_that_was_done,
                a_long_stream_is_trimmed_to_the_entry,
            ];
            replay: [
                a_replayed_dead_letter_is_one_new_entry,
                a_replay_asked_twice_adds_once,
                two_replays_of_three_hundred_add_three_hundred,
                a_copy_leaves_the_dead_letter_and_counts_nothing,
                a_copied_dead_letter_is_removed_without_a_second_entry,
                another_target_is_another_replay,
                an_unknown_dead_letter_is_not_found,
                a_refused_replay_changes_nothing,
                replays_answer_in_the_order_of_the_questions,
                of_many_that_are_replayed_what_has_gone_meanwhile_is_not_put_back,
                receipts_tell_what_was_put_back_and_change_nothing,
            ];
            import: [
                what_is_imported_is_stored_as_it_is_and_counted,
                an_import_asked_twice_adds_once,
                an_import_asked_twice_in_one_call_adds_once,
                what_left_the_queue_is_not_imported_again_unless_by_another_name,
                two_imports_of_three_hundred_add_three_hundred,
                five_thousand_fields_are_imported_once,
                a_refused_import_changes_nothing,
                the_books_balance_with_what_was_imported,
                an_erased_queue_forgets_what_was_imported,
            ];
            books: [
                a_purged_dead_letter_is_gone_and_counted,
                a_purge_asked_twice_counts_once,
                the_books_balance,
                a_staged_dead_letter_is_added_once_and_counted,
            ];
            limits: [
                what_finds_the_queue_full_waits_with_its_failure_recorded,
                a_message_kept_pending_twice_by_one_run_fails_once,
                what_is_kept_with_its_attempts_used_up_does_not_run_again,
                a_higher_limit_lets_it_go,
                a_begin_that_finds_the_queue_full_charges_nothing,
                a_rejection_that_finds_the_queue_full_runs_again,
                who_lost_it_keeps_nothing_before_a_full_queue,
                a_tombstone_is_written_to_a_full_queue_and_made_whole_there,
                the_oldest_are_dropped_and_counted,
                a_limit_of_about_so_many_drops_only_the_oldest_and_counts_them,
                a_claim_drops_the_oldest_for_what_it_gives_up,
                a_full_copy_drops_nothing_for_its_tombstone,
                what_is_settled_together_goes_way_by_way,
                the_books_balance_whoever_races,
                what_is_kept_can_be_left_out_of_what_is_pending,
            ];
            sizes: [
                a_queue_at_its_bytes_is_full_until_some_have_gone,
                an_empty_queue_takes_one_however_few_bytes_it_may_hold,
                the_oldest_are_dropped_beyond_its_bytes_and_counted,
                a_queue_whose_oldest_is_too_old_is_full_until_it_has_gone,
                what_is_too_old_is_dropped_by_the_next_death_and_by_time_alone,
                whichever_limit_is_reached_first_counts,
            ];
            spilling: [
                what_is_taken_out_is_counted_once,
                the_level_of_a_queue_is_what_it_holds,
                before_a_full_queue_that_spills_a_message_waits_a_second,
            ];
            sums: [
                a_queue_that_was_never_there_has_no_books,
                tombstones_that_go_or_get_their_bytes_are_nobody_elses_work,
                what_is_replayed_purged_and_imported_is_nobody_elses_work,
                what_others_add_and_remove_is_told,
            ];
            group: [
                a_vanished_group_is_told,
                a_waiting_read_ends_when_the_group_vanishes,
                a_restored_group_repeats_what_was_pending,
                a_restored_group_repeats_nothing_that_was_done,
                without_a_mark_a_group_is_restored_at_the_first_entry,
                another_stream_of_the_same_name_starts_at_its_first_entry,
                an_existing_group_is_left_alone_by_a_restore,
                who_restores_a_group_is_seen_in_it,
                a_restored_group_forgets_the_states_of_the_old_one,
                who_joins_a_vanished_group_starts_at_its_mark,
            ];
            consumers: [
                who_leaves_with_nothing_pending_is_removed,
                who_leaves_with_something_pending_stays_with_its_lease,
                a_dead_consumer_is_removed_once_nothing_is_pending_on_it,
                pending_counts_the_whole_group,
            ];
            members: [
                a_group_is_created_where_it_is_told_and_once,
                a_group_of_a_missing_stream_makes_the_stream,
                a_created_group_goes_on_where_one_of_its_name_had_come_to,
                a_deleted_group_leaves_nothing_of_its_own_behind,
                a_group_stays_while_something_is_pending_or_a_consumer_lives,
                what_is_left_of_a_vanished_group_is_deleted_and_holds_no_trim_back,
                a_deleted_group_leaves_the_others_alone,
                consumers_are_told_by_their_names_with_what_they_hold,
                consumers_of_no_group_are_an_error_of_that_kind,
                only_the_dead_that_hold_nothing_are_pruned,
            ];
            names: [
                a_name_belongs_to_one_process_at_a_time,
                a_name_whose_process_fell_silent_is_free,
                a_sign_of_life_that_ran_out_is_given_again,
                who_leaves_gives_its_name_back,
            ];
            stats: [
                a_missing_stream_is_missing_and_not_empty,
                a_stream_without_the_group_says_so,
                a_stream_that_never_had_an_entry_has_no_last_one,
                the_numbers_of_a_source_are_told,
                no_more_wait_than_are_pending,
                a_shared_queue_is_counted_whole,
            ];
            doctor: [
                what_is_told_of_a_stream_is_what_is_there,
                what_is_pending_and_gone_is_told_apart_from_what_was_trimmed,
                a_group_that_is_missing_is_created_once,
                a_group_that_vanished_is_told_where_redrive_was_in_it,
                only_consumers_that_are_gone_and_hold_nothing_are_removed,
            ];
            look: [
                a_missing_stream_has_no_groups_and_a_new_one_has_none,
                groups_are_told_by_their_names,
                all_streams_are_told_and_nothing_else,
                a_stream_is_looked_at_without_a_group,
                what_is_pending_is_told_with_what_is_kept_of_it,
                what_is_overdue_is_due_now_and_what_was_begun_no_longer_waits,
                pages_of_what_is_pending_go_on_after_the_last,
                nothing_is_pending_where_there_is_no_group,
            ];
        }
    };
}

/// One module of tests for one backend.
macro_rules! tests_on {
    ($bench:ty; $($file:ident: [$($test:ident),* $(,)?];)*) => {
        $(
            mod $file {
                $(
                    #[test]
                    fn $test() {
                        crate::conformance::on::<$bench>(
                            async |lab| crate::conformance::$file::$test(lab).await,
                        );
                    }
                )*
            }
        )*
    };
}

/// One line a backend.
macro_rules! backends {
    ($($backend:ident: $bench:ty;)*) => {
        $(mod $backend { every_test!(tests_on! { $bench; }); })*
    };
}

backends! {
    memory: crate::memory::lab::MemoryLab;
    redis: crate::redis::lab::RedisLab;
}

/// Brings a backend up, runs one test on it, and takes it down.
fn on<B: Bench>(test: impl AsyncFnOnce(&dyn Lab)) {
    B::runtime().block_on(async {
        let lab = B::open().await;
        test(&lab).await;
        lab.close().await;
    });
}
