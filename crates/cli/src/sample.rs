//! `sectag mqtt sample`: the SDK's MQTT sample and the Academy's exercise.

use crate::args::Sample;
use crate::fault::Outcome;
use crate::home::Place;

/// `sectag mqtt sample`
pub(crate) async fn sample(_place: &Place, _args: Sample, _as_json: bool) -> Outcome {
    Ok(())
}
