//! What a test makes the registry do wrong: rules that match requests and say what happens to them.

use std::time::Duration;

use axum::http::Method;
use transship::oci::Digest;

use super::log::Recorded;
use super::route::Endpoint;

/// What happens to a request that a rule matches.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Answer this instead of asking the registry.
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// Wait, then go on as usual.
    Delay(Duration),
    /// End the connection after this many bytes of the response's body.
    CutResponse(usize),
    /// End the connection after this many bytes of the request's body have arrived; nothing is done.
    CutRequest(usize),
    /// What a request that is cut off or refused has brought stays in the upload session.
    KeepArrived,
    /// Do what was asked, then end the connection without an answer.
    LoseAnswer,
    /// Change one bit of this byte of the response's body.
    FlipBit(usize),
    /// Answer with this status in the place of the registry's own; all else stays.
    SetStatus(u16),
    /// Put a header into the answer, in the place of those of the same name.
    SetHeader(&'static str, String),
    /// Leave a header out of the answer.
    RemoveHeader(&'static str),
    /// Serve the whole blob although a range was asked for.
    IgnoreRange,
    /// Forget the upload session before looking at the request.
    LoseSession,
    /// Acknowledge the upload of a blob, or of a manifest under a tag, and forget it: the blob is
    /// there, and the tag points where it did, as before.
    Forget,
    /// Change one bit of this byte of the request's body before it is looked at.
    FlipReceivedBit(usize),
    /// Keep only the last chunk of an upload session instead of all of them.
    LastChunkWins,
    /// Acknowledge a new blob or manifest and show it only after this many further requests.
    ShowLater(usize),
    /// After a manifest was written under a tag, let somebody else point the tag at this digest.
    MoveTag(Digest),
    /// Before looking at the request, remove from its repository every blob no manifest names.
    CollectGarbage,
    /// Compress the body of the answer for transport, and say so.
    Compress,
    /// Say of each page of a list that another one follows.
    EndlessPages,
    /// Answer 413 to a request whose body has more bytes.
    MaxBody(usize),
    /// Send the client to the same path and query at this origin, such as `http://127.0.0.1:80`.
    RedirectTo(String),
}

impl Action {
    /// An answer without headers and body.
    pub(crate) fn status(status: u16) -> Self {
        Self::Answer {
            status,
            headers: Vec::new(),
            body: String::new(),
        }
    }
}

type Predicate = Box<dyn Fn(&Recorded) -> bool + Send + Sync>;

/// Which requests an action happens to. Rules are asked in the order they were added; all that
/// match a request act on it.
pub(crate) struct Rule {
    endpoint: Endpoint,
    method: Option<Method>,
    predicate: Option<Predicate>,
    skip: usize,
    times: usize,
    action: Action,
}

impl Rule {
    /// Every request to an endpoint.
    pub(crate) fn on(endpoint: Endpoint, action: Action) -> Self {
        Self {
            endpoint,
            method: None,
            predicate: None,
            skip: 0,
            times: usize::MAX,
            action,
        }
    }

    /// Only requests with this method.
    pub(crate) fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Only requests that `predicate` holds for; their body has not been read yet.
    pub(crate) fn when(
        mut self,
        predicate: impl Fn(&Recorded) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.predicate = Some(Box::new(predicate));
        self
    }

    /// Not the first `count` of the requests that match.
    pub(crate) fn after(mut self, count: usize) -> Self {
        self.skip = count;
        self
    }

    /// Only `count` of the requests that match.
    pub(crate) fn times(mut self, count: usize) -> Self {
        self.times = count;
        self
    }

    /// The action, if this request gets it; counts the request.
    pub(super) fn matches(&mut self, request: &Recorded) -> Option<Action> {
        let matches = self.endpoint == request.endpoint
            && self
                .method
                .as_ref()
                .is_none_or(|method| *method == request.method)
            && self.predicate.as_ref().is_none_or(|holds| holds(request));
        if !matches {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.times = self.times.checked_sub(1)?;
        Some(self.action.clone())
    }
}
