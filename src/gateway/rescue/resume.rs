use super::Attempts;
use crate::wire::Operation;
use crate::wire::listen::Framing;

pub(super) fn is_known(_: Operation, _: Framing) -> bool {
    false
}

pub(super) async fn run(mut attempts: Attempts) {
    attempts.pass_on().await;
}
