//! `sectag creds`: credentials under security tags.

use crate::args::Creds;
use crate::fault::Outcome;
use crate::home::Place;

/// `sectag creds`
pub(crate) async fn creds(_place: &Place, _verb: Creds, _as_json: bool) -> Outcome {
    Ok(())
}
