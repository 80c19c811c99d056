//! Small requests with small answers: tokens, and what shows whether a key is good.

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::BodyExt;

use super::{Broken, Client};
use crate::upstream::request_body::Outgoing;

/// How much of an answer is read.
const LIMIT: usize = 64 * 1024;

impl Client {
    /// Sends a request and reads its answer whole, or the first 64 KiB of it. The caller sets the time
    /// limit.
    pub async fn fetch(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Broken> {
        let (head, mut body) = self.send_anew(request.map(Outgoing::whole)).await?.into_parts();
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let bytes = frame.map_err(|_| Broken::Lost)?.into_data().unwrap_or_default();
            let room = LIMIT - whole.len();
            whole.extend_from_slice(&bytes[..bytes.len().min(room)]);
            if bytes.len() > room {
                break;
            }
        }
        Ok(Response::from_parts(head, whole.freeze()))
    }
}
