//! Parses token counts in the formats of OpenAI and compatible providers.

use memchr::memchr;

/// The tokens of one exchange as the provider counted them. A count that the provider did not send is
/// absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Prompt tokens, including those read from the cache and written to it.
    pub input: Option<u64>,
    /// Prompt tokens that the provider read from its cache.
    pub cached_input: Option<u64>,
    /// Prompt tokens that the provider wrote to its cache.
    pub cache_write: Option<u64>,
    /// Output tokens, including reasoning.
    pub output: Option<u64>,
    /// Output tokens spent on reasoning.
    pub reasoning: Option<u64>,
}

impl Usage {
    /// Replaces the counts with those that `later` contains.
    pub fn update(&mut self, later: Usage) {
        let Usage { input, cached_input, cache_write, output, reasoning } = later;
        self.input = input.or(self.input);
        self.cached_input = cached_input.or(self.cached_input);
        self.cache_write = cache_write.or(self.cache_write);
        self.output = output.or(self.output);
        self.reasoning = reasoning.or(self.reasoning);
    }
}

/// The maximum length of a usage object, which contains a dozen numbers.
pub(crate) const LONGEST: usize = 4 * 1024;

/// Parses a usage object and ignores the bytes after it. A malformed object yields no counts.
///
/// Chat, completions and embeddings use `prompt_tokens` and `completion_tokens`; responses, images and
/// transcriptions use `input_tokens` and `output_tokens`; the details are in inner objects. DeepSeek also
/// sends `prompt_cache_hit_tokens`, and some providers put the details next to the counts.
pub(crate) fn read(usage: &[u8]) -> Usage {
    let (mut input, mut output, mut reasoning, mut total) = (None, None, None, None);
    let (mut cached, mut hit, mut cache_write) = (None, None, None);
    let mut walk = Numbers::of(usage);
    while let Some((within, name, number)) = walk.next() {
        let outer = within.is_empty();
        let of = |details: [&str; 2]| outer || details.iter().any(|of| of.as_bytes() == within);
        match name {
            b"prompt_tokens" | b"input_tokens" if outer => input = Some(number),
            b"completion_tokens" | b"output_tokens" if outer => output = Some(number),
            b"total_tokens" if outer => total = Some(number),
            b"prompt_cache_hit_tokens" if outer => hit = Some(number),
            b"reasoning_tokens" if of(["completion_tokens_details", "output_tokens_details"]) => {
                reasoning = Some(number);
            }
            b"cached_tokens" if of(["prompt_tokens_details", "input_tokens_details"]) => {
                cached = Some(number);
            }
            // Recorded from OpenAI's models on Bedrock.
            b"cache_write_tokens" if of(["prompt_tokens_details", "input_tokens_details"]) => {
                cache_write = Some(number);
            }
            _ => {}
        }
    }
    let output = with_reasoning(input, output, reasoning, total);
    Usage { input, cached_input: cached.or(hit), cache_write, output, reasoning }
}

/// Iterates over the members of an object and of its inner objects whose values are whole numbers.
pub(crate) struct Numbers<'u> {
    rest: &'u [u8],
    depth: usize,
    /// The last key of the outer object whose value is not a number.
    within: &'u [u8],
}

impl<'u> Numbers<'u> {
    pub(crate) fn of(object: &'u [u8]) -> Self {
        Self { rest: object, depth: 0, within: &[] }
    }

    /// Returns the name of the inner object (empty in the outer one), the member's name, and its number.
    pub(crate) fn next(&mut self) -> Option<(&'u [u8], &'u [u8], u64)> {
        loop {
            let (&byte, behind) = self.rest.split_first()?;
            self.rest = behind;
            match byte {
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.checked_sub(1)?;
                    if self.depth == 0 {
                        self.rest = &[];
                    }
                }
                b'"' => {
                    let text = self.text()?;
                    match (self.number(), self.depth) {
                        (Some(number), 1) => return Some((&[], text, number)),
                        (Some(number), 2) => return Some((self.within, text, number)),
                        (None, 1) => self.within = text,
                        _ => {}
                    }
                }
                _ => {}
            }
        }
    }

    /// Returns the string whose opening quote has been consumed. No known name contains an escape, so a
    /// string with an escape is consumed in pieces, and no piece is accepted as a name.
    fn text(&mut self) -> Option<&'u [u8]> {
        let end = memchr(b'"', self.rest)?;
        let text = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Some(if text.last() == Some(&b'\\') { &[] } else { text })
    }

    /// Returns the number after a colon, if one is next.
    fn number(&mut self) -> Option<u64> {
        let behind = self.rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        let mut digits = behind.iter().map_while(|byte| char::from(*byte).to_digit(10));
        let first = u64::from(digits.next()?);
        digits.try_fold(first, |number, digit| number.checked_mul(10)?.checked_add(digit.into()))
    }
}

/// Adds reasoning to xAI's `completion_tokens`, which exclude it; all others include it. The total shows
/// which case applies.
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
        let whole = Usage {
            input: Some(10),
            cached_input: Some(4),
            cache_write: None,
            output: Some(5),
            reasoning: Some(3),
        };
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
        for odd in
            ["", "null", "{}", "[1]", r#"{"prompt_tokens":null,"output_tokens":"5"}"#, r#"{"a":"#]
        {
            assert_eq!(read(odd.as_bytes()), Usage::default(), "{odd}");
        }
        let behind = read(br#"{"prompt_tokens":1},"prompt_tokens":2"#);
        assert_eq!(behind.input, Some(1), "what follows the object is not its");
        let large = format!(r#"{{"output_tokens":{}}}"#, u64::MAX);
        assert_eq!(read(large.as_bytes()).output, Some(u64::MAX));
    }
}
