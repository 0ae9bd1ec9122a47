//! `sectag forecast` and `sectag renewals`.

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Forecast {
    /// Windows in days, rising, with commas between them
    #[arg(long, value_name = "DAYS", default_value = "30,60,90")]
    pub(crate) days: String,
    /// List what will be renewed in time as well
    #[arg(long)]
    pub(crate) all: bool,
    /// Rows of the list at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) limit: usize,
    /// Exit code 1 when anything needs somebody, for a timer or a pipeline
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Renewals {
    /// Everything about this device: its certificates, and how each came to the next [default: what is under way]
    pub(crate) device: Option<String>,
    /// Rows at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) limit: usize,
}
