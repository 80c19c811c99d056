//! Request -> a Request that the target can take, and the list of what was left out.
//!
//! All policy is here and in the `fit` of each format, so that encoders only print: they are total, without
//! `Result`. First one generic pass over the feature matrix ([`generic`]), then the format's own `fit`, which
//! uses the shared parts:
//!
//! ```text
//! effort          one scale between effort words and token budgets
//! claude          what single Claude models refuse, on every road to them
//! media           the feature that a piece of media is, and its type
//! call_ids        ids of tool calls in the target's spelling, paired with their results
//! roles           turns in the order that a target accepts
//! signatures      reasoning and signatures that only their maker takes back
//! tool_names      what a target accepts as the name of a function
//! tool_arguments  arguments for targets that accept objects only
//! forced_tool     JSON schema output by a tool that must be called
//! openai          what OpenAI's API and its models refuse
//! ```

pub(crate) mod call_ids;
pub(crate) mod claude;
pub(crate) mod claude_schema;
pub(crate) mod effort;
pub(crate) mod forced_tool;
pub(crate) mod generic;
pub(crate) mod media;
pub(crate) mod openai;
pub(crate) mod roles;
pub(crate) mod signatures;
pub(crate) mod tool_arguments;
pub(crate) mod tool_names;

use super::api::Format;
use super::feature::{Feature, Support};
use super::json::fields::Rejected;

/// What was decided about a request on its way to a target.
#[derive(Debug)]
pub struct Fitting {
    target: Format,
    caller: Format,
    /// What the vendor supports and the format does not.
    allowed: Option<Feature>,
    dropped: Vec<String>,
    forced_tool: Option<String>,
}

impl Fitting {
    /// For a provider of format `target`, on behalf of a caller of format `caller`.
    pub fn new(target: Format, caller: Format) -> Fitting {
        Fitting { target, caller, allowed: None, dropped: Vec::new(), forced_tool: None }
    }

    /// Returns the format of the provider.
    pub(crate) fn target(&self) -> Format {
        self.target
    }

    /// Keeps a feature that this vendor supports although the format does not.
    pub(crate) fn allow(&mut self, feature: Feature) {
        self.allowed = Some(feature);
    }

    /// Decides about the feature that the caller set at `at`, by the feature matrix: returns true to keep
    /// it; drops it and returns false. An empty `at` means the member by which the caller's format sets it.
    ///
    /// # Errors
    ///
    /// When the target does not support it and it may not be left out.
    pub fn keep(&mut self, feature: Feature, at: &str) -> Result<bool, Rejected> {
        match feature.support(self.target) {
            _ if self.allowed == Some(feature) => Ok(true),
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

    /// Clears a setting that the format supports and this vendor or model does not, and names it if it was set.
    pub(crate) fn omit_set<T>(&mut self, feature: Feature, setting: &mut Option<T>) {
        if setting.take().is_some() {
            self.omit(feature, "");
        }
    }

    /// Refuses a feature that the format supports and this vendor or model does not.
    pub fn refuse(&self, feature: Feature, at: &str) -> Rejected {
        let why = format!(
            "uses {}, which the {} format does not support",
            feature.name(),
            self.target.title()
        );
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

    /// Returns `at`, or if that is empty the member by which the caller's format sets the feature.
    pub(crate) fn place(&self, feature: Feature, at: &str) -> String {
        match at {
            "" => {
                let place = feature.place(self.caller).unwrap_or(feature.name());
                format!("/{}", place.replace("[]", "").replace('.', "/"))
            }
            at => at.to_owned(),
        }
    }
}
