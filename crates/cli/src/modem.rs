//! `sectag modem`: a virtual modem on a pty or TCP, one AT line, a transcript.

use crate::args::ModemVerb;
use crate::fault::Outcome;
use crate::home::Place;

/// `sectag modem`
pub(crate) async fn modem(_place: &Place, _verb: ModemVerb, _as_json: bool) -> Outcome {
    Ok(())
}
