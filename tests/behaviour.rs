//! The behaviour under failure, rule by rule, with the tests of each. The table is the
//! place to look up what a rule means; another test checks that the tests exist.

#![allow(clippy::unwrap_used, reason = "so a test fails")]

use std::fs;
use std::path::Path;

/// A rule, and its tests: the file and the name of each.
type Rule = (&'static str, &'static [(&'static str, &'static str)]);

const CLASSES: &str = "src/gateway/attempt/tests/classes.rs";
const ORDER: &str = "src/gateway/attempt/tests/order.rs";
const COOLING_DOWN: &str = "src/gateway/attempt/tests/cooling_down.rs";
const PROBES: &str = "src/gateway/attempt/tests/probes.rs";
const LIMITS: &str = "src/gateway/attempt/tests/limits.rs";
const FIRST_TOKEN: &str = "src/gateway/attempt/tests/first_token.rs";
const HEALTH: &str = "src/keys/health/tests.rs";
const RETRY_AFTER: &str = "src/wire/failure/retry_after.rs";
const KEYS: &str = "tests/scenarios/keys.rs";
const PROVIDERS: &str = "tests/scenarios/providers.rs";
const STREAMS: &str = "tests/scenarios/streams.rs";
const TRANSLATED: &str = "tests/streams_translated.rs";

/// Failure classes: the scope that cools down, for how long, and what is tried next.
const CLASS_RULES: &[Rule] = &[
    (
        "caller error: no cooldown, the response unmodified after one attempt",
        &[
            (CLASSES, "failures_that_are_not_the_keys_fault_cool_nothing"),
            (ORDER, "a_caller_error_is_returned_after_one_attempt"),
            (PROVIDERS, "a_content_policy_refusal_is_not_retried"),
        ],
    ),
    (
        "context too long: the same model is not tried again; the fallbacks, else the response unmodified",
        &[
            (ORDER, "a_prompt_too_long_for_a_model_is_not_sent_to_it_again"),
            (PROVIDERS, "a_prompt_over_the_context_limit_goes_only_to_the_larger_model"),
        ],
    ),
    (
        "each other class: its scope, its first cooldown, the doubling and the maximum",
        &[(CLASSES, "every_failure_class_cools_its_scope_for_its_time")],
    ),
    (
        "bad credential: the key, 300 s doubling to an hour, never permanently; other key at once",
        &[
            (HEALTH, "a_bad_credential_cools_down_the_key_for_five_minutes_doubling_to_an_hour"),
            (KEYS, "a_revoked_key_costs_one_attempt_and_stays_out_after_a_reload"),
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
            (KEYS, "a_key_without_credit_is_distinguished_from_a_throttled_one"),
        ],
    ),
    (
        "throttled: the key with the model, retry-after up to an hour, else 10 s doubling to 120 s",
        &[
            (
                HEALTH,
                "throttling_cools_down_the_key_with_the_model_for_ten_seconds_doubling_to_two_minutes",
            ),
            (HEALTH, "retry_after_sets_the_cooldown_of_throttling_up_to_an_hour"),
            (KEYS, "a_throttled_key_cools_down_for_retry_after"),
        ],
    ),
    (
        "provider failure: after three in a row, 5 s doubling to 60 s",
        &[
            (
                HEALTH,
                "three_troubles_in_a_row_cool_down_the_key_with_the_model_for_five_seconds_doubling_to_a_minute",
            ),
            (HEALTH, "a_success_resets_the_count_of_troubles"),
            (CLASSES, "a_silent_provider_counts_as_a_failure"),
            (PROVIDERS, "a_burst_of_errors_is_hidden_and_ends_in_a_cooldown"),
            (PROVIDERS, "an_overloaded_provider_falls_back"),
        ],
    ),
    (
        "provider failure at a target's only key: one quick retry with it before the fallbacks",
        &[
            (ORDER, "a_targets_only_key_gets_one_quick_retry_before_the_fallbacks"),
            (ORDER, "only_provider_failures_of_an_only_key_get_a_quick_retry"),
        ],
    ),
    (
        "a bug in keymux: 500 with the request id, and the next request is served",
        &[("src/gateway/catch_panic.rs", "a_panic_becomes_an_error")],
    ),
    (
        "the class is read from status, body and provider together",
        &[
            ("src/wire/failure/classify.rs", "anthropic_uses_one_status_for_many_failures"),
            ("src/wire/failure/classify.rs", "google_errors_are_recognized_in_every_api"),
            (
                "src/wire/failure/classify.rs",
                "aws_errors_are_recognized_by_their_header_in_every_api",
            ),
        ],
    ),
    (
        "every form of retry-after; invalid values fall back to the default",
        &[
            (RETRY_AFTER, "every_header_is_parsed"),
            (RETRY_AFTER, "malformed_values_are_ignored"),
            (CLASSES, "every_form_of_retry_after_is_obeyed"),
            (CLASSES, "an_invalid_retry_after_is_ignored"),
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
            (PROBES, "a_key_due_for_a_probe_gets_one_request_while_others_use_another_key"),
            (PROBES, "a_disconnect_of_the_caller_releases_its_probe"),
            (KEYS, "a_recovered_key_gets_one_probe_and_then_its_share"),
        ],
    ),
    (
        "cooldowns survive a reload that does not change the key",
        &[
            (PROBES, "a_cooldown_survives_a_reload_that_does_not_change_the_key"),
            ("tests/reload/carry.rs", "a_cooldown_survives_while_the_key_is_the_same"),
        ],
    ),
];

const ATTEMPT_RULES: &[Rule] = &[
    (
        "if all keys but one are bad, the first request succeeds without a wait",
        &[
            (ORDER, "one_good_key_makes_the_first_request_succeed_without_a_wait"),
            (
                "tests/data_plane_failover.rs",
                "one_good_key_makes_the_first_request_succeed_whatever_the_others_return",
            ),
        ],
    ),
    (
        "then the route's other targets, then its fallbacks, also in other formats",
        &[
            (ORDER, "other_targets_are_tried_before_fallbacks"),
            (PROVIDERS, "a_translated_fallback_answers_in_the_callers_format"),
            (STREAMS, "a_translated_fallback_streams_in_the_callers_format"),
        ],
    ),
    ("a request waits twice at most", &[(COOLING_DOWN, "a_request_waits_twice_at_most")]),
    (
        "attempts after a provider failure stay within a fifth of the requests plus ten per second",
        &[
            (LIMITS, "an_outage_causes_at_most_a_fifth_more_requests_plus_ten_per_second"),
            (LIMITS, "other_failures_take_nothing_from_the_retry_budget"),
            (LIMITS, "a_reload_does_not_refill_the_retry_budget"),
            ("tests/failover.rs", "an_outage_is_not_amplified_beyond_the_budget"),
        ],
    ),
    (
        "all keys cooling down: a wait within queue_timeout, or a refusal within 5 ms without a call",
        &[
            (COOLING_DOWN, "a_key_that_is_available_soon_is_waited_for"),
            (COOLING_DOWN, "throttled_keys_are_an_immediate_429_with_retry_after"),
            (COOLING_DOWN, "a_failing_provider_is_a_503"),
            (KEYS, "when_all_keys_cool_down_no_provider_is_called_and_retry_after_is_set"),
        ],
    ),
    (
        "retry-after is the soonest key, between 1 and 60 s; x-should-retry is false if none is back by then",
        &[
            (COOLING_DOWN, "keys_without_credit_are_a_429_without_retry"),
            (PROBES, "a_slow_probe_is_not_waited_for"),
        ],
    ),
    (
        "the refusal contains the reason for each key",
        &[(COOLING_DOWN, "the_body_contains_a_reason_for_each_key")],
    ),
    (
        "timeouts: connect, first byte, idle and total, of providers and routes",
        &[
            (LIMITS, "a_connect_timeout_counts_as_silent"),
            (LIMITS, "total_covers_all_attempts"),
            (LIMITS, "a_routes_timeouts_override_the_providers"),
            (STREAMS, "a_stalled_stream_ends_with_an_error_after_the_idle_timeout"),
            ("tests/streams.rs", "the_total_timeout_ends_an_endless_stream"),
        ],
    ),
    (
        "a silent provider is not tried twice in one request",
        &[
            (LIMITS, "a_silent_provider_is_not_tried_twice"),
            (PROVIDERS, "a_provider_that_hangs_before_its_head_is_tried_once"),
        ],
    ),
    (
        "every response has its id, provider, key and attempts; the provider's own headers are forwarded",
        &[
            ("tests/data_plane_answers.rs", "the_response_names_provider_key_and_attempts"),
            ("tests/data_plane_answers.rs", "the_providers_request_id_stays_and_ours_is_added"),
            (PROVIDERS, "a_translated_fallback_answers_in_the_callers_format"),
        ],
    ),
    (
        "a provider's error is forwarded without a repeated key; translated to the caller's format",
        &[
            (
                "tests/data_plane_answers.rs",
                "a_caller_error_is_returned_unmodified_after_one_attempt",
            ),
            ("tests/data_plane_answers.rs", "an_error_that_repeats_the_key_is_redacted"),
            (PROVIDERS, "a_failed_translated_fallback_returns_an_error_in_the_callers_format"),
        ],
    ),
    (
        "a whole response that is truncated, or is an error in spite of its status, is retried",
        &[
            (PROVIDERS, "a_truncated_whole_response_is_retried_with_another_key"),
            (PROVIDERS, "an_error_with_status_200_is_not_forwarded"),
        ],
    ),
];

const STREAM_RULES: &[Rule] = &[
    (
        "the head waits for the first meaningful event; until then there is another attempt",
        &[
            ("tests/streams.rs", "comments_are_forwarded_but_the_head_waits_for_the_first_event"),
            (STREAMS, "a_stream_that_ends_before_its_first_event_is_retried_with_another_key"),
            (STREAMS, "a_stream_that_hangs_after_its_head_falls_back"),
            (STREAMS, "an_error_as_the_first_event_is_retried_with_another_key"),
            (
                TRANSLATED,
                "a_translated_stream_that_fails_before_its_first_token_becomes_an_error_status",
            ),
        ],
    ),
    (
        "after it there is no retry, unless the route sets `rescue`",
        &[
            (STREAMS, "a_stream_cut_in_the_middle_ends_with_an_error_and_is_not_restarted"),
            ("tests/rescue.rs", "a_broken_held_stream_is_replaced_invisibly"),
        ],
    ),
    (
        "a cut, a stall, an error within the stream become an error event, and nothing looks finished",
        &[
            ("tests/streams.rs", "a_cut_in_mid_stream_becomes_an_error_event"),
            ("tests/streams.rs", "a_stall_becomes_an_error_event_and_closes_the_provider"),
            ("tests/streams.rs", "a_cut_responses_stream_ends_with_response_failed"),
            ("tests/streams_native.rs", "a_cut_message_ends_with_an_error_event"),
            (
                "tests/streams_native.rs",
                "a_cut_gemini_stream_ends_with_an_error_that_clients_parse",
            ),
            ("tests/streams_native.rs", "a_bedrock_stream_is_forwarded_and_a_cut_is_an_exception"),
        ],
    ),
    (
        "the same for translated streams, and for a garbled frame",
        &[
            (TRANSLATED, "a_broken_translated_stream_ends_with_an_error_in_the_callers_format"),
            (TRANSLATED, "a_complete_translated_stream_is_complete_in_every_format"),
            (TRANSLATED, "nothing_follows_an_error_event_even_if_the_provider_continues"),
        ],
    ),
    (
        "a stream that is complete but lacks its last event ends promptly",
        &[
            ("tests/streams.rs", "a_finished_stream_without_done_ends_promptly_as_complete"),
            ("tests/streams.rs", "a_stream_that_stays_open_after_done_is_ended"),
            ("tests/streams.rs", "a_stream_that_stays_open_after_an_error_is_ended"),
        ],
    ),
    (
        "the caller disconnects: the provider is closed within 100 ms, at any point of the response",
        &[
            (
                "tests/data_plane_callers.rs",
                "a_disconnect_of_the_caller_closes_the_upstream_connection",
            ),
            (TRANSLATED, "a_disconnect_of_the_caller_closes_the_provider"),
            (PROVIDERS, "a_disconnect_of_the_caller_ends_the_attempts"),
        ],
    ),
    (
        "memory per stream is bounded, and an event of more than 16 MiB is an error event",
        &[
            (
                "tests/data_plane_callers.rs",
                "a_slow_reader_of_a_stream_slows_the_provider_and_uses_no_memory",
            ),
            (TRANSLATED, "a_slow_reader_slows_the_provider_and_uses_no_memory"),
            ("tests/streams.rs", "an_endless_event_becomes_an_error_event"),
            (TRANSLATED, "an_endless_event_becomes_an_error_event"),
        ],
    ),
    (
        "same format: the same bytes, and no event is delayed for the next",
        &[
            ("tests/streams.rs", "bytes_are_the_same_in_any_chunking"),
            ("tests/streams.rs", "each_event_is_forwarded_before_the_next_arrives"),
            ("tests/streams_native.rs", "bytes_are_the_same_in_any_chunking"),
        ],
    ),
    (
        "a late first token moves to the next attempt, if the route sets `first_token`",
        &[(FIRST_TOKEN, "a_late_first_token_moves_to_the_next_target_before_the_next_key")],
    ),
];

const LIFE_CYCLE_RULES: &[Rule] = &[
    (
        "SIGTERM: running streams finish, the rest get the error event, exit 0",
        &[
            ("tests/lifecycle.rs", "sigterm_finishes_running_streams_and_accepts_no_connections"),
            (
                "tests/lifecycle.rs",
                "a_stream_still_running_after_the_drain_timeout_gets_an_error_event",
            ),
            (TRANSLATED, "a_stream_still_running_after_the_drain_timeout_gets_an_error_event"),
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
        "heads, bodies, fields and paths are limited",
        &[
            ("tests/limits.rs", "a_head_that_is_too_large_is_a_431"),
            ("tests/limits.rs", "a_body_over_the_limit_is_a_413_with_and_without_content_length"),
            ("tests/limits.rs", "a_body_without_a_valid_model_is_a_400_with_the_reason"),
            ("tests/limits.rs", "http_1_1_requires_exactly_one_host_header"),
            ("tests/limits.rs", "conflicting_framings_cannot_smuggle_a_request"),
            ("tests/hostile.rs", "a_model_in_a_path_stays_one_path_segment"),
        ],
    ),
    (
        "a request cannot choose its destination or credential; redirects are not followed",
        &[
            ("tests/hostile.rs", "a_request_cannot_choose_its_destination_or_credential"),
            ("tests/data_plane.rs", "only_allowed_headers_are_forwarded"),
            ("tests/data_plane_answers.rs", "a_redirect_is_forwarded_and_not_followed"),
        ],
    ),
    (
        "no six characters of a secret in a row, anywhere",
        &[(
            "tests/data_plane_secrets.rs",
            "no_secret_appears_in_errors_logs_metrics_or_the_configuration",
        )],
    ),
    (
        "reloads under load and hours of load lose no request and leak nothing",
        &[
            ("tests/reload/load.rs", "no_request_fails_or_mixes_two_files"),
            ("tests/soak.rs", "a_soak_leaks_nothing_and_answers_correctly"),
            (
                "src/gateway/attempt/tests/simulation.rs",
                "invariants_hold_in_thousands_of_random_worlds",
            ),
        ],
    ),
];

#[test]
fn every_rule_names_existing_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut missing = Vec::new();
    for (rule, tests) in [CLASS_RULES, ATTEMPT_RULES, STREAM_RULES, LIFE_CYCLE_RULES].concat() {
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
