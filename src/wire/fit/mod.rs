//! Request -> a Request that the target can take, and the list of what was left out.
//!
//! All policy is here and in the `fit` of each format, so that encoders only print: they are total, without
//! `Result`. First one generic pass over the feature matrix ([`generic`]), then the format's own `fit`, which
//! uses the shared parts:
//!
//! ```text
//! effort       one scale between effort words and token budgets
//! call_ids     ids of tool calls in the target's spelling, paired with their results
//! tool_names   what a target accepts as the name of a function
//! forced_tool  JSON schema output by a tool that must be called
//! ```

pub(crate) mod call_ids;
pub(crate) mod effort;
pub(crate) mod forced_tool;
pub(crate) mod generic;
pub(crate) mod tool_names;

use super::api::Format;
use super::feature::{Feature, Support};
use super::json::fields::Rejected;

/// What was decided about a request on its way to a target.
#[derive(Debug)]
pub struct Fitting {
    target: Format,
    caller: Format,
    dropped: Vec<String>,
    forced_tool: Option<String>,
}

impl Fitting {
    /// For a provider of format `target`, on behalf of a caller of format `caller`.
    pub fn new(target: Format, caller: Format) -> Fitting {
        Fitting { target, caller, dropped: Vec::new(), forced_tool: None }
    }

    /// Decides about the feature that the caller set at `at`, by the feature matrix: returns true to keep
    /// it; drops it and returns false. An empty `at` means the member by which the caller's format sets it.
    ///
    /// # Errors
    ///
    /// When the target does not support it and it may not be left out.
    pub fn keep(&mut self, feature: Feature, at: &str) -> Result<bool, Rejected> {
        match feature.support(self.target) {
            Support::Supported => Ok(true),
            Support::Dropped => {
                self.omit(feature, at);
                Ok(false)
            }
            Support::Refused => Err(self.refuse(feature, at)),
        }
    }

    /// Drops a feature that the format supports and this vendor or model does not.
    pub fn omit(&mut self, feature: Feature, at: &str) {
        let at = self.place(feature, at);
        self.drop(&at);
    }

    /// Refuses a feature that the format supports and this vendor or model does not.
    pub fn refuse(&self, feature: Feature, at: &str) -> Rejected {
        let why = format!("the {} format does not support {}", self.target.title(), feature.name());
        Rejected::new(self.place(feature, at), why)
    }

    /// Adds the place of something left out to the list, once.
    pub fn drop(&mut self, place: &str) {
        if !self.dropped.iter().any(|known| known == place) {
            self.dropped.push(place.to_owned());
        }
    }

    /// Notes the tool whose arguments are the answer.
    pub fn force_tool(&mut self, tool: &str) {
        self.forced_tool = Some(tool.to_owned());
    }

    /// Returns the places of what was left out, in the caller's names, and the tool whose arguments are the
    /// answer.
    pub(crate) fn finish(self) -> (Vec<String>, Option<String>) {
        (self.dropped, self.forced_tool)
    }

    fn place(&self, feature: Feature, at: &str) -> String {
        match at {
            "" => {
                let place = feature.place(self.caller).unwrap_or(feature.name());
                format!("/{}", place.replace("[]", "").replace('.', "/"))
            }
            at => at.to_owned(),
        }
    }
}
