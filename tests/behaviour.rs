//! What keymux does when things go wrong, rule by rule, with the tests that hold each. The table is the
//! place to look for what a rule means; that its tests are there is a test of its own.

#![allow(clippy::unwrap_used, reason = "so a test fails")]

use std::fs;
use std::path::Path;

/// A rule, and where it is held: a file and a test in it.
type Rule = (&'static str, &'static [(&'static str, &'static str)]);

const CLASSES: &str = "src/gateway/attempt/tests/classes.rs";
const WALKING: &str = "src/gateway/attempt/tests/walking.rs";
const RESTING: &str = "src/gateway/attempt/tests/resting.rs";
const PROBES: &str = "src/gateway/attempt/tests/probes.rs";
const LIMITS: &str = "src/gateway/attempt/tests/limits.rs";
const HASTE: &str = "src/gateway/attempt/tests/haste.rs";
const HEALTH: &str = "src/keys/health/tests.rs";
const HINT: &str = "src/wire/failure/hint.rs";
const KEYS: &str = "tests/scenarios/keys.rs";
const PROVIDERS: &str = "tests/scenarios/providers.rs";
const STREAMS: &str = "tests/scenarios/streams.rs";
const TRANSLATED: &str = "tests/streams_translated.rs";

/// A failure's class: what cools, for how long, who is next.
const OF_CLASSES: &[Rule] = &[
    (
        "the caller's fault: nothing cools, the answer as it is after one attempt",
        &[
            (CLASSES, "what_is_no_fault_of_the_keys_cools_nothing"),
            (WALKING, "what_is_the_callers_fault_is_answered_after_one_attempt"),
            (PROVIDERS, "what_a_policy_forbids_is_asked_of_nobody_else"),
        ],
    ),
    (
        "context too long: never the same model again; the fallbacks, else the answer as it is",
        &[
            (WALKING, "a_prompt_too_long_for_a_model_is_never_sent_to_it_again"),
            (PROVIDERS, "a_prompt_that_is_too_long_goes_to_the_larger_model_alone"),
        ],
    ),
    (
        "each other class: the key or the key with the model, its first span, doubled, at most",
        &[(CLASSES, "every_row_cools_what_it_is_about_for_as_long_as_it_says")],
    ),
    (
        "bad credential: the key, 300 s doubling to an hour, never for ever; other key at once",
        &[
            (HEALTH, "a_bad_credential_cools_down_the_key_for_five_minutes_doubling_to_an_hour"),
            (KEYS, "a_revoked_key_costs_one_attempt_and_no_reload_brings_it_back"),
        ],
    ),
    (
        "no access: the key with the model, 300 s; other key at once",
        &[
            (HEALTH, "no_access_cools_down_the_key_with_the_model_for_five_minutes"),
            (KEYS, "a_key_without_the_model_serves_its_other_models"),
        ],
    ),
    (
        "no credit: the key, 600 s doubling to an hour; other key at once",
        &[
            (HEALTH, "no_credit_cools_down_the_key_for_ten_minutes_doubling_to_an_hour"),
            (KEYS, "a_key_without_credit_is_not_taken_for_a_throttled_one"),
        ],
    ),
    (
        "throttled: the key with the model, the hint up to an hour, else 10 s doubling to 120 s",
        &[
            (
                HEALTH,
                "throttling_cools_down_the_key_with_the_model_for_ten_seconds_doubling_to_two_minutes",
            ),
            (HEALTH, "retry_after_sets_the_cooldown_of_throttling_up_to_an_hour"),
            (KEYS, "a_throttled_key_is_left_alone_for_as_long_as_its_provider_asks"),
        ],
    ),
    (
        "trouble: after three in a row, 5 s doubling to 60 s",
        &[
            (
                HEALTH,
                "three_troubles_in_a_row_cool_down_the_key_with_the_model_for_five_seconds_doubling_to_a_minute",
            ),
            (HEALTH, "a_success_resets_the_count_of_troubles"),
            (CLASSES, "a_silent_provider_counts_as_one_in_trouble"),
            (PROVIDERS, "a_burst_of_errors_is_never_seen_and_ends_in_a_cooldown"),
            (PROVIDERS, "an_overloaded_provider_makes_way_for_the_fallback"),
        ],
    ),
    (
        "trouble at a target's only key: one quick retry on it before the fallbacks",
        &[
            (WALKING, "a_target_s_only_key_has_one_quick_retry_before_the_fallbacks"),
            (WALKING, "only_a_trouble_is_tried_again_quickly_and_only_with_an_only_key"),
        ],
    ),
    (
        "our own fault: 500 with the request's id, and the next request is served",
        &[("src/gateway/contain.rs", "a_panic_is_an_outcome")],
    ),
    (
        "the class is read from status, body and provider together",
        &[
            ("src/wire/failure.rs", "anthropic_has_one_status_for_many_failures"),
            ("src/wire/failure.rs", "google_answers_in_its_own_form_for_whatever_api"),
            ("src/wire/failure.rs", "aws_is_known_by_its_header_for_whatever_api"),
        ],
    ),
    (
        "every form of a hint; bad values fall back to the default",
        &[
            (HINT, "waits_are_read_from_each_header"),
            (HINT, "bad_values_count_as_not_said"),
            (CLASSES, "every_form_of_a_hint_is_kept_to"),
            (CLASSES, "a_bad_hint_is_none"),
        ],
    ),
    (
        "cooldowns only extend",
        &[
            (HEALTH, "a_cooldown_is_never_shortened"),
            (HEALTH, "failures_of_requests_that_began_earlier_do_not_double_the_cooldown"),
            (CLASSES, "a_later_failure_extends_a_cooldown_and_never_shortens_it"),
        ],
    ),
    (
        "cooldowns carry a tenth of jitter",
        &[(HEALTH, "jitter_is_at_most_a_tenth_and_depends_on_the_seed")],
    ),
    (
        "cooldowns end in one half-open probe",
        &[
            (HEALTH, "one_request_is_the_probe_and_the_others_wait_for_its_result"),
            (PROBES, "a_key_that_is_due_gets_one_request_while_others_are_served_elsewhere"),
            (PROBES, "a_caller_that_leaves_gives_its_probe_back"),
            (KEYS, "a_recovered_key_gets_one_probe_and_then_its_share"),
        ],
    ),
    (
        "cooldowns survive a reload that does not change the key",
        &[
            (PROBES, "a_cooldown_survives_a_reload_that_does_not_change_the_key"),
            ("tests/reload/carry.rs", "a_cooldown_lasts_as_long_as_the_key_is_the_same"),
        ],
    ),
];

const OF_ATTEMPTS: &[Rule] = &[
    (
        "with all keys bad but one the first request succeeds without a sleep",
        &[
            (WALKING, "with_one_good_key_the_first_request_succeeds_without_a_sleep"),
            (
                "tests/data_plane_failover.rs",
                "with_one_good_key_the_first_request_succeeds_whatever_the_others_say",
            ),
        ],
    ),
    (
        "then the route's other targets, then its fallbacks, of other formats as well",
        &[
            (WALKING, "the_other_targets_come_next_and_then_the_fallbacks"),
            (PROVIDERS, "a_fallback_of_another_format_answers_in_the_callers"),
            (STREAMS, "a_fallback_of_another_format_streams_in_the_callers"),
        ],
    ),
    ("a request waits twice at most", &[(RESTING, "a_request_waits_twice_at_most")]),
    (
        "attempts that follow a trouble stay within a fifth of the requests and ten a second",
        &[
            (LIMITS, "an_outage_is_amplified_by_a_fifth_and_ten_a_second"),
            (LIMITS, "other_failures_cost_nothing"),
            (LIMITS, "a_reload_fills_no_budget"),
            ("tests/failover.rs", "an_outage_is_not_amplified_beyond_the_budget"),
        ],
    ),
    (
        "all keys cool: a wait within queue_timeout, or a refusal within 5 ms and without a call",
        &[
            (RESTING, "when_a_key_is_due_soon_it_is_waited_for"),
            (RESTING, "throttled_keys_are_a_429_at_once_that_says_when"),
            (RESTING, "a_provider_in_trouble_is_a_503"),
            (KEYS, "when_all_keys_cool_nobody_is_asked_and_the_answer_says_until_when"),
        ],
    ),
    (
        "retry-after is the soonest, between 1 and 60 s; x-should-retry where that is too soon",
        &[
            (RESTING, "keys_without_credit_are_a_429_that_is_not_worth_a_retry"),
            (PROBES, "a_slow_probe_is_not_waited_for"),
        ],
    ),
    (
        "the refusal has the reason of each key",
        &[(RESTING, "every_key_has_its_reason_in_the_body")],
    ),
    (
        "deadlines for the connection, the first byte, idleness and the total, of provider and route",
        &[
            (LIMITS, "whoever_takes_no_connection_in_time_is_silent_too"),
            (LIMITS, "total_covers_all_attempts"),
            (LIMITS, "a_route_has_deadlines_of_its_own"),
            (
                STREAMS,
                "a_stream_that_stalls_in_the_middle_ends_with_an_error_when_its_time_is_over",
            ),
            ("tests/streams.rs", "the_total_time_ends_a_stream_that_would_go_on"),
        ],
    ),
    (
        "a silent provider is not tried twice in one request",
        &[
            (LIMITS, "a_silent_provider_is_not_tried_twice"),
            (PROVIDERS, "a_provider_that_hangs_before_its_head_is_asked_once"),
        ],
    ),
    (
        "every answer tells its id, provider, key and attempts; the provider's own headers pass",
        &[
            ("tests/data_plane_answers.rs", "the_answer_says_who_gave_it"),
            (
                "tests/data_plane_answers.rs",
                "the_providers_request_id_stays_and_ours_stands_beside_it",
            ),
            (PROVIDERS, "a_fallback_of_another_format_answers_in_the_callers"),
        ],
    ),
    (
        "a provider's error passes as it is, without an echoed key; translated in the caller's form",
        &[
            (
                "tests/data_plane_answers.rs",
                "the_callers_mistake_comes_back_unmodified_after_one_attempt",
            ),
            ("tests/data_plane_answers.rs", "an_error_that_echoes_the_key_comes_without_it"),
            (
                PROVIDERS,
                "when_the_fallback_of_another_format_fails_too_the_error_is_in_the_callers",
            ),
        ],
    ),
    (
        "a whole answer that breaks off, or is an error in spite of its status, is asked for elsewhere",
        &[
            (PROVIDERS, "a_whole_answer_that_breaks_off_is_had_from_another_key"),
            (PROVIDERS, "an_error_that_says_it_is_none_is_not_passed_on"),
        ],
    ),
];

const OF_STREAMS: &[Rule] = &[
    (
        "the head waits for the first event that means something; until then another attempt",
        &[
            ("tests/streams.rs", "comments_come_along_but_the_head_waits_for_the_first_event"),
            (STREAMS, "a_stream_that_ends_before_its_first_event_is_had_from_another_key"),
            (STREAMS, "a_stream_that_hangs_behind_its_head_makes_way_for_the_fallback"),
            (STREAMS, "an_error_for_a_first_event_is_had_better_from_another_key"),
            (
                TRANSLATED,
                "a_stream_that_fails_before_its_first_word_is_a_real_status_in_the_callers_format",
            ),
        ],
    ),
    (
        "after it no retry, unless the route asks for it",
        &[
            (STREAMS, "a_stream_cut_in_the_middle_ends_with_an_error_and_is_not_begun_anew"),
            ("tests/rescue.rs", "a_broken_stream_is_gone_on_with_and_no_character_is_doubled"),
            ("tests/rescue.rs", "a_held_stream_that_breaks_is_never_seen"),
        ],
    ),
    (
        "a cut, a stall, an error within becomes an error event of the format, and nothing looks finished",
        &[
            ("tests/streams.rs", "a_cut_in_mid_stream_becomes_an_error_event"),
            ("tests/streams.rs", "a_stall_becomes_an_error_event_and_leaves_the_provider"),
            ("tests/streams.rs", "a_cut_responses_stream_fails_in_its_own_words"),
            ("tests/streams_native.rs", "a_cut_message_ends_with_an_error_event"),
            (
                "tests/streams_native.rs",
                "a_cut_of_gemini_ends_with_an_error_as_its_clients_read_it",
            ),
            (
                "tests/streams_native.rs",
                "a_conversation_with_bedrock_passes_and_its_cut_is_an_exception",
            ),
        ],
    ),
    (
        "the same between formats, and for a garbled frame",
        &[
            (
                TRANSLATED,
                "a_broken_stream_is_an_error_event_in_the_callers_format_and_never_looks_finished",
            ),
            (TRANSLATED, "an_unbroken_stream_looks_finished_to_everybody"),
            (TRANSLATED, "an_error_that_was_told_is_the_end_even_when_the_provider_goes_on"),
        ],
    ),
    (
        "a stream that is complete but lacks its last event ends promptly",
        &[
            ("tests/streams.rs", "a_finished_stream_without_done_ends_promptly_as_it_is"),
            ("tests/streams.rs", "a_stream_that_stays_open_after_done_is_ended"),
            ("tests/streams.rs", "a_stream_that_stays_open_after_an_error_is_ended"),
        ],
    ),
    (
        "the caller leaves: the provider is left within 100 ms, wherever the answer stands",
        &[
            (
                "tests/data_plane_callers.rs",
                "a_caller_that_leaves_takes_the_upstream_connection_along",
            ),
            (TRANSLATED, "a_caller_that_leaves_takes_the_provider_along"),
            (PROVIDERS, "a_caller_that_leaves_ends_the_walk"),
        ],
    ),
    (
        "memory per stream is bounded, and an event of more than 16 MiB is an error event",
        &[
            (
                "tests/data_plane_callers.rs",
                "a_slow_caller_of_a_stream_slows_the_provider_and_costs_no_memory",
            ),
            (TRANSLATED, "a_slow_caller_slows_the_provider_and_costs_no_memory"),
            ("tests/streams.rs", "an_event_that_does_not_end_becomes_an_error_event"),
            (TRANSLATED, "an_event_that_does_not_end_becomes_an_error_event"),
        ],
    ),
    (
        "the same format: the same bytes, and no event is held for the next",
        &[
            ("tests/streams.rs", "bytes_are_the_same_however_they_are_cut"),
            ("tests/streams.rs", "each_event_passes_before_the_next_one_comes"),
            ("tests/streams_native.rs", "bytes_are_the_same_however_they_are_cut"),
        ],
    ),
    (
        "a late first token makes way for the next attempt, where the route asks for it",
        &[(HASTE, "a_late_first_token_makes_way_for_the_next_target_before_the_next_key")],
    ),
];

const OF_LIFE: &[Rule] = &[
    (
        "SIGTERM: running streams finish, the rest get the error event, exit 0",
        &[
            ("tests/lifecycle.rs", "sigterm_lets_a_running_stream_finish_and_takes_nobody_new"),
            ("tests/lifecycle.rs", "what_outlives_the_drain_timeout_ends_with_an_error_event"),
            (TRANSLATED, "what_outlives_the_drain_timeout_ends_with_an_error_event"),
        ],
    ),
    (
        "slow and silent callers are cut",
        &[
            ("tests/limits.rs", "a_caller_without_a_whole_head_in_time_is_disconnected"),
            ("tests/limits.rs", "a_body_may_be_slow_but_must_make_progress"),
            (
                "tests/data_plane_callers.rs",
                "a_caller_that_stops_reading_is_cut_after_the_write_timeout",
            ),
        ],
    ),
    (
        "heads, bodies, fields and paths have their limits",
        &[
            ("tests/limits.rs", "a_head_that_is_too_large_is_a_431"),
            ("tests/limits.rs", "a_body_over_the_limit_is_a_413_with_and_without_content_length"),
            ("tests/limits.rs", "a_body_without_a_valid_model_is_a_400_with_the_reason"),
            ("tests/limits.rs", "http_1_1_requires_exactly_one_host_header"),
            ("tests/limits.rs", "conflicting_framings_cannot_smuggle_a_request"),
            ("tests/hostile.rs", "a_model_in_a_path_stays_one_segment_of_it"),
        ],
    ),
    (
        "a request chooses neither where it goes nor its credential; redirects are not followed",
        &[
            ("tests/hostile.rs", "a_request_cannot_choose_where_it_goes_nor_with_which_credential"),
            ("tests/data_plane.rs", "only_headers_that_are_known_to_be_harmless_go_upstream"),
            ("tests/data_plane_answers.rs", "a_redirect_is_passed_on_and_not_followed"),
        ],
    ),
    (
        "no six characters of a secret in a row, anywhere",
        &[(
            "tests/data_plane_secrets.rs",
            "no_secret_reaches_an_error_a_log_a_metric_or_the_configuration",
        )],
    ),
    (
        "reloads under load, and a load for hours, lose and leave nothing",
        &[
            ("tests/reload/load.rs", "no_request_fails_and_none_meets_two_files"),
            ("tests/soak.rs", "nothing_grows_nothing_stays_and_every_answer_is_right"),
            (
                "src/gateway/attempt/tests/simulation.rs",
                "what_must_hold_holds_in_thousands_of_worlds",
            ),
        ],
    ),
];

#[test]
fn every_rule_is_held_by_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut missing = Vec::new();
    for (rule, tests) in [OF_CLASSES, OF_ATTEMPTS, OF_STREAMS, OF_LIFE].concat() {
        assert!(!tests.is_empty(), "nothing holds: {rule}");
        for (file, test) in tests {
            let text = fs::read_to_string(root.join(file)).unwrap_or_default();
            let is_test = text.split("fn ").skip(1).zip(text.split("fn ")).any(|(own, before)| {
                own.strip_prefix(test).is_some_and(|rest| rest.starts_with('('))
                    && before.trim_end_matches("async ").trim_end().ends_with(']')
            });
            if !is_test {
                missing.push(format!("{file}: {test}"));
            }
        }
    }
    assert!(missing.is_empty(), "no such tests:\n{}", missing.join("\n"));
}
