//! Ids of calls, as the API accepts them: every call has one, of at most 64 characters.

use std::borrow::Cow;
use std::collections::VecDeque;

/// `call_id` of a function's output (`FunctionCallOutputItemParam`).
const LONGEST: usize = 64;

/// The ids of one conversation, in its order.
#[derive(Debug, Default)]
pub(crate) struct CallIds<'r> {
    made: u32,
    /// Of calls without an id that have no outcome yet.
    waiting: VecDeque<String>,
    /// Of calls whose id is too long.
    long: Vec<(&'r str, String)>,
}

impl<'r> CallIds<'r> {
    /// Of a call.
    pub(crate) fn call(&mut self, id: Option<&'r str>) -> Cow<'r, str> {
        match id.unwrap_or_default() {
            "" => {
                let made = self.make();
                self.waiting.push_back(made.clone());
                Cow::Owned(made)
            }
            id => self.given(id),
        }
    }

    /// Of what came of a call; `None`: no call waits for it.
    pub(crate) fn outcome(&mut self, id: &'r str) -> Option<Cow<'r, str>> {
        match id {
            "" => self.waiting.pop_front().map(Cow::Owned),
            id => Some(self.given(id)),
        }
    }

    fn given(&mut self, id: &'r str) -> Cow<'r, str> {
        if id.len() <= LONGEST {
            return Cow::Borrowed(id);
        }
        if let Some((_, made)) = self.long.iter().find(|(own, _)| *own == id) {
            return Cow::Owned(made.clone());
        }
        let made = self.make();
        self.long.push((id, made.clone()));
        Cow::Owned(made)
    }

    /// The same in each request of a conversation, so that the provider's prompt cache serves it.
    fn make(&mut self) -> String {
        self.made = self.made.saturating_add(1);
        format!("call_{}", self.made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_without_ids_are_answered_in_their_order() {
        let mut ids = CallIds::default();
        assert_eq!(ids.call(None), "call_1");
        assert_eq!(ids.call(Some("toolu_1")), "toolu_1");
        assert_eq!(ids.call(None), "call_2");
        assert_eq!(ids.outcome("").as_deref(), Some("call_1"));
        assert_eq!(ids.outcome("toolu_1").as_deref(), Some("toolu_1"));
        assert_eq!(ids.outcome("").as_deref(), Some("call_2"));
        assert_eq!(ids.outcome(""), None);
    }

    #[test]
    fn a_long_id_is_replaced_alike_in_call_and_outcome() {
        let long = "x".repeat(65);
        let mut ids = CallIds::default();
        let made = ids.call(Some(&long));
        assert!(made.len() <= LONGEST);
        assert_eq!(ids.outcome(&long), Some(made));
    }
}
