//! Token counts in the shapes that OpenAI and its likes give them.

use super::super::ir::Usage;
use super::super::scan::members;

/// Longer than this, an object does not hold a dozen numbers.
pub(super) const LONGEST: usize = 4 * 1024;

/// Reads a usage object; one that cannot be read tells nothing.
///
/// Chat, completions and embeddings count `prompt_tokens` and `completion_tokens`; responses, images and
/// transcriptions `input_tokens` and `output_tokens`. DeepSeek also has `prompt_cache_hit_tokens`.
pub(super) fn read(usage: &[u8]) -> Usage {
    if usage.is_empty() {
        return Usage::default();
    }
    let [
        prompt,
        input,
        completion,
        output,
        total,
        hit,
        cached,
        inside_in,
        inside_input,
        inside_out,
        inside_output,
    ] = members(
        usage,
        [
            "prompt_tokens",
            "input_tokens",
            "completion_tokens",
            "output_tokens",
            "total_tokens",
            "prompt_cache_hit_tokens",
            "cached_tokens",
            "prompt_tokens_details",
            "input_tokens_details",
            "completion_tokens_details",
            "output_tokens_details",
        ],
    );
    let detail = |details: Option<&[u8]>, name| number(members(details?, [name])[0]);
    let input = number(prompt).or_else(|| number(input));
    let output = number(completion).or_else(|| number(output));
    let reasoning = detail(inside_out.or(inside_output), "reasoning_tokens");
    Usage {
        input,
        cached_input: detail(inside_in.or(inside_input), "cached_tokens")
            .or_else(|| number(hit))
            .or_else(|| number(cached)),
        output: with_reasoning(input, output, reasoning, number(total)),
        reasoning,
    }
}

fn number(value: Option<&[u8]>) -> Option<u64> {
    std::str::from_utf8(value?).ok()?.parse().ok()
}

/// xAI's `completion_tokens` leave reasoning out, all others' include it. The total tells which.
fn with_reasoning(
    input: Option<u64>,
    output: Option<u64>,
    reasoning: Option<u64>,
    total: Option<u64>,
) -> Option<u64> {
    let sum = output?.checked_add(reasoning.unwrap_or(0))?;
    if total.is_some() && total == input?.checked_add(sum) { Some(sum) } else { output }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shapes_are_read() {
        let chat = br#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,
            "prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":3}}"#;
        let responses = br#"{"input_tokens":10,"input_tokens_details":{"cached_tokens":4},
            "output_tokens":5,"output_tokens_details":{"reasoning_tokens":3},"total_tokens":15}"#;
        let whole =
            Usage { input: Some(10), cached_input: Some(4), output: Some(5), reasoning: Some(3) };
        assert_eq!(read(chat), whole);
        assert_eq!(read(responses), whole);
        let deepseek = read(br#"{"prompt_tokens":10,"prompt_cache_hit_tokens":2}"#);
        assert_eq!(deepseek, Usage { input: Some(10), cached_input: Some(2), ..Usage::default() });
    }

    #[test]
    fn reasoning_beside_the_output_is_added_to_it() {
        let xai = read(
            br#"{"prompt_tokens":165,"completion_tokens":2,"total_tokens":296,
            "completion_tokens_details":{"reasoning_tokens":129}}"#,
        );
        assert_eq!((xai.output, xai.reasoning), (Some(131), Some(129)));
    }

    #[test]
    fn what_is_absent_or_odd_stays_absent() {
        for odd in ["", "null", "{}", "[1]", r#"{"prompt_tokens":null,"output_tokens":"5"}"#] {
            assert_eq!(read(odd.as_bytes()), Usage::default(), "{odd}");
        }
        let large = format!(r#"{{"output_tokens":{}}}"#, u64::MAX);
        assert_eq!(read(large.as_bytes()).output, Some(u64::MAX));
    }
}
