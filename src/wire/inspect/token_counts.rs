//! Parses token counts in the formats of the vendors other than OpenAI.
//!
//! A stream contains the counts in several objects, each with the counts known at that point: a later
//! number replaces an earlier one.

use super::usage::Usage;
use super::usage::{LONGEST, Numbers};

/// The tokens counted so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    input: Option<u64>,
    /// Cache tokens that are not in `input`: read from the cache, written to it, and added by tools.
    beside: [Option<u64>; 3],
    /// Read from the cache, included in `input`.
    cached: Option<u64>,
    output: Option<u64>,
    /// Spent on reasoning, not included in `output`.
    thoughts: Option<u64>,
    /// Spent on reasoning, included in `output`.
    reasoning: Option<u64>,
}

const READ: usize = 0;
const WRITTEN: usize = 1;
const TOOLS: usize = 2;

impl Tally {
    /// Reads the `usage` of Anthropic, whose `input_tokens` exclude the cache.
    /// <https://platform.claude.com/docs/en/build-with-claude/prompt-caching#tracking-cache-performance>
    pub(crate) fn of_anthropic(&mut self, usage: Option<&[u8]>) {
        each(usage, |within, name, number| match (within, name) {
            (b"", b"input_tokens") => self.input = Some(number),
            (b"", b"cache_read_input_tokens") => self.beside[READ] = Some(number),
            (b"", b"cache_creation_input_tokens") => self.beside[WRITTEN] = Some(number),
            (b"", b"output_tokens") => self.output = Some(number),
            (b"output_tokens_details", b"thinking_tokens") => self.reasoning = Some(number),
            _ => {}
        });
    }

    /// Reads Bedrock's own counts: the `usage` of a conversation and the metrics of an invocation. Both
    /// exclude the cache from the input. Titan sends its counts next to its text.
    pub(crate) fn of_bedrock(&mut self, usage: Option<&[u8]>) {
        each(usage, |within, name, number| match (within, name) {
            (b"", b"inputTokens" | b"inputTokenCount" | b"inputTextTokenCount") => {
                self.input = Some(number);
            }
            (b"", b"cacheReadInputTokens" | b"cacheReadInputTokenCount") => {
                self.beside[READ] = Some(number);
            }
            (b"", b"cacheWriteInputTokens" | b"cacheWriteInputTokenCount") => {
                self.beside[WRITTEN] = Some(number);
            }
            (b"", b"outputTokens" | b"outputTokenCount" | b"totalOutputTextTokenCount") => {
                self.output = Some(number);
            }
            _ => {}
        });
    }

    /// Reads the headers with Bedrock's counts of an invocation.
    pub(crate) fn of_bedrock_head<'h>(&mut self, header: &dyn Fn(&str) -> Option<&'h str>) {
        let count = |name: &str| {
            let value = header(&format!("x-amzn-bedrock-{name}-token-count"))?;
            value.trim().parse::<u64>().ok()
        };
        self.input = count("input").or(self.input);
        self.beside[READ] = count("cache-read-input").or(self.beside[READ]);
        self.beside[WRITTEN] = count("cache-write-input").or(self.beside[WRITTEN]);
        self.output = count("output").or(self.output);
    }

    /// Reads a `usageMetadata`. Tool tokens of the prompt and reasoning tokens are separate from prompt and
    /// output; the total is the sum of all four. <https://ai.google.dev/api/generate-content#UsageMetadata>
    pub(crate) fn of_gemini(&mut self, usage: Option<&[u8]>) {
        each(usage, |within, name, number| match (within, name) {
            (b"", b"promptTokenCount") => self.input = Some(number),
            (b"", b"toolUsePromptTokenCount") => self.beside[TOOLS] = Some(number),
            (b"", b"cachedContentTokenCount") => self.cached = Some(number),
            (b"", b"candidatesTokenCount") => self.output = Some(number),
            (b"", b"thoughtsTokenCount") => self.thoughts = Some(number),
            _ => {}
        });
    }

    /// Reads a `usage`, or the `meta` of an embedding: `tokens` are the model's tokens, `billed_units` the
    /// billed ones.
    pub(crate) fn of_cohere(&mut self, usage: Option<&[u8]>) {
        let (mut billed_input, mut billed_output) = (None, None);
        each(usage, |within, name, number| match (within, name) {
            (b"tokens", b"input_tokens") => self.input = Some(number),
            (b"tokens", b"output_tokens") => self.output = Some(number),
            (b"tokens", b"reasoning_tokens") => self.reasoning = Some(number),
            (b"", b"cached_tokens") => self.cached = Some(number),
            (b"billed_units", b"input_tokens") => billed_input = Some(number),
            (b"billed_units", b"output_tokens") => billed_output = Some(number),
            _ => {}
        });
        self.input = self.input.or(billed_input);
        self.output = self.output.or(billed_output);
    }

    /// Reads the `metrics` of a prediction; those of a language model count tokens.
    pub(crate) fn of_replicate(&mut self, metrics: Option<&[u8]>) {
        each(metrics, |within, name, number| match (within, name) {
            (b"", b"input_token_count") => self.input = Some(number),
            (b"", b"output_token_count") => self.output = Some(number),
            _ => {}
        });
    }

    /// Returns the total usage.
    pub(crate) fn usage(&self) -> Usage {
        let beside = self.beside.iter().flatten().fold(0, |sum: u64, n| sum.saturating_add(*n));
        let output = match (self.output, self.thoughts) {
            (Some(output), Some(thoughts)) => Some(output.saturating_add(thoughts)),
            (output, thoughts) => output.or(thoughts),
        };
        Usage {
            input: self.input.map(|input| input.saturating_add(beside)),
            cached_input: self.cached.or(self.beside[READ]),
            cache_write: self.beside[WRITTEN],
            output,
            reasoning: self.reasoning.or(self.thoughts),
        }
    }
}

fn each(object: Option<&[u8]>, mut take: impl FnMut(&[u8], &[u8], u64)) {
    let Some(object) = object.filter(|object| object.len() <= LONGEST) else { return };
    let mut numbers = Numbers::of(object);
    while let Some((within, name, number)) = numbers.next() {
        take(within, name, number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_beside_the_input_is_added_to_it() {
        let mut tally = Tally::default();
        tally.of_anthropic(Some(
            br#"{"input_tokens":3,"cache_creation_input_tokens":20,"cache_read_input_tokens":100,
            "cache_creation":{"ephemeral_5m_input_tokens":20},"output_tokens":1}"#,
        ));
        tally.of_anthropic(Some(
            br#"{"output_tokens":9,"output_tokens_details":{"thinking_tokens":4}}"#,
        ));
        let expected = Usage {
            input: Some(123),
            cached_input: Some(100),
            cache_write: Some(20),
            output: Some(9),
            reasoning: Some(4),
        };
        assert_eq!(tally.usage(), expected);
    }

    #[test]
    fn thoughts_are_output_even_alone() {
        let mut tally = Tally::default();
        tally.of_gemini(Some(
            br#"{"promptTokenCount":432,"promptTokensDetails":[{"tokenCount":301}],
            "thoughtsTokenCount":18,"toolUsePromptTokenCount":78,"totalTokenCount":528}"#,
        ));
        let usage = tally.usage();
        assert_eq!((usage.input, usage.output, usage.reasoning), (Some(510), Some(18), Some(18)));
        assert_eq!(usage.cached_input, None);
    }

    #[test]
    fn what_is_billed_counts_where_tokens_are_not_told() {
        let mut tally = Tally::default();
        tally.of_cohere(Some(
            br#"{"api_version":{"version":"2"},"billed_units":{"input_tokens":7}}"#,
        ));
        assert_eq!(tally.usage(), Usage { input: Some(7), ..Usage::default() });
        tally.of_cohere(Some(
            br#"{"billed_units":{"input_tokens":7},"tokens":{"input_tokens":90}}"#,
        ));
        assert_eq!(tally.usage().input, Some(90));
    }

    #[test]
    fn headers_count_an_invocation() {
        let head = [
            ("x-amzn-bedrock-input-token-count", "4"),
            ("x-amzn-bedrock-cache-read-input-token-count", "18131"),
            ("x-amzn-bedrock-output-token-count", "50"),
        ];
        let mut tally = Tally::default();
        tally.of_bedrock_head(&|name| head.iter().find(|(own, _)| *own == name).map(|(_, v)| *v));
        let usage = tally.usage();
        assert_eq!((usage.input, usage.cached_input), (Some(18135), Some(18131)));
        assert_eq!((usage.output, usage.reasoning), (Some(50), None));
    }
}
