//! Reads a provider's response on its way to the caller, either verbatim or translated. The relay asks it how far
//! the response has come and what ends it, whichever it is.

use crate::wire::api::{Framing, Operation};
use crate::wire::failure::class::Failure;
use crate::wire::failure::error_event::Ending;
use crate::wire::inspect::observer::{ResponseObserver, StreamError};
use crate::wire::inspect::usage::Usage;
use crate::wire::translate::Translation;

/// The code of an error event that keymux sends.
const ERROR_CODE: &str = "upstream_error";

/// How a provider's response passes.
#[derive(Debug)]
pub(crate) struct Passage {
    /// Observes the provider's bytes: usage, errors and the end.
    observer: ResponseObserver,
    /// Translates the bytes of a stream into the caller's format.
    translation: Option<Box<Translation>>,
}

impl Passage {
    /// A response of `operation` that is forwarded as it is.
    pub(crate) fn verbatim(operation: Operation, framing: Framing) -> Self {
        Self { observer: ResponseObserver::new(operation, framing), translation: None }
    }

    /// Translates the stream from here on.
    pub(crate) fn translate(&mut self, translation: Option<Translation>) {
        self.translation = translation.map(Box::new);
    }

    /// Reads the counts that the response head contains; Bedrock sends those of a whole response there.
    /// `header` returns a header's value by its lower-case name.
    pub(crate) fn read_head<'h>(&mut self, header: &dyn Fn(&str) -> Option<&'h str>) {
        self.observer.read_head(header);
    }

    /// Observes the provider's next bytes.
    pub(crate) fn observe(&mut self, bytes: &[u8]) {
        self.observer.observe(bytes);
    }

    /// Returns what the caller gets for these observed bytes. `None`: the caller gets them as they are.
    pub(crate) fn translated(&mut self, bytes: &[u8], is_last: bool) -> Option<Vec<u8>> {
        let translation = self.translation.as_mut()?;
        let mut out = Vec::with_capacity(bytes.len());
        translation.push(bytes, &mut out);
        if is_last {
            translation.end(&mut out);
        }
        Some(out)
    }

    /// Ends the response after the provider's last byte. Returns what the caller gets then.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(translation) = &mut self.translation {
            translation.end(&mut out);
        }
        out
    }

    /// Ends the response where it is, with an error event in the caller's format.
    pub(crate) fn break_off(&mut self, why: &str) -> Ending {
        match &mut self.translation {
            Some(translation) => {
                let mut out = Vec::new();
                translation.cut(why, &mut out);
                Ending { bytes: out.into(), breaks: false }
            }
            None => error_ending(&self.observer, why),
        }
    }

    /// Returns true if the provider sends a stream.
    pub(crate) fn is_stream(&self) -> bool {
        self.observer.framing().is_stream()
    }

    pub(crate) fn is_translated(&self) -> bool {
        self.translation.is_some()
    }

    /// Returns the framing of the caller's response.
    pub(crate) fn framing(&self) -> Framing {
        match &self.translation {
            Some(translation) => translation.framing(),
            None => self.observer.framing(),
        }
    }

    /// Returns the framing of the provider's response.
    pub(crate) fn provider_framing(&self) -> Framing {
        self.observer.framing()
    }

    /// Returns true once an event arrived that a caller waits for.
    pub(crate) fn has_begun(&self) -> bool {
        self.observer.begun()
    }

    /// Returns the tokens that the provider has reported so far.
    pub(crate) fn usage(&self) -> Usage {
        self.observer.usage()
    }

    /// Returns the error that the provider sent within its stream.
    pub(crate) fn provider_failure(&self) -> Option<Failure> {
        self.observer.failure()
    }

    /// Returns the body of that error.
    pub(crate) fn provider_error(&self) -> Option<&StreamError> {
        self.observer.error_body()
    }

    /// Returns the error with which the caller's stream has ended.
    pub(crate) fn failure(&self) -> Option<Failure> {
        let translated = self.translation.as_ref().and_then(|translation| translation.failure());
        translated.or(self.observer.failure()).filter(|_| self.is_stream())
    }

    /// Returns true if a translated stream has sent its error event. Nothing after it is forwarded.
    pub(crate) fn has_sent_error(&self) -> bool {
        self.translation.as_ref().is_some_and(|translation| translation.failure().is_some())
    }

    /// Returns true if the caller has not had all: a clean end now would make a cut stream look complete.
    pub(crate) fn is_incomplete(&self) -> bool {
        match &self.translation {
            Some(translation) => !translation.is_over(),
            None => {
                self.is_stream() && !self.observer.complete() && self.observer.failure().is_none()
            }
        }
    }

    /// Returns true if the content is complete; at most counts and the closing event may follow.
    pub(crate) fn is_finished(&self) -> bool {
        self.observer.finished()
    }

    /// Returns true if the closing event has arrived.
    pub(crate) fn is_done(&self) -> bool {
        self.observer.done()
    }

    /// Returns the length of the event whose end has not arrived.
    pub(crate) fn open_event_length(&self) -> usize {
        self.observer.open_event()
    }
}

/// Returns the error event that ends a stream at the observer's position.
pub(crate) fn error_ending(observer: &ResponseObserver, why: &str) -> Ending {
    observer.cut(why, ERROR_CODE)
}
