//! Server-side apply.

use super::{call::Call, create::Stored, errors::Refusal, state::State};

/// Serves an apply patch.
pub(super) fn apply(_state: &mut State, _call: &Call) -> Result<Stored, Refusal> {
    Err(Refusal::unsupported_media("apply"))
}
