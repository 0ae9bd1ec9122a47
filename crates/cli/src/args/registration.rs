//! `sectag devices register` and `sectag devices revoke`.

use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(
    override_usage = "sectag devices register [OPTIONS] <DEVICE> <CERT_FILE>\n       sectag devices register [OPTIONS] --from <FILE>"
)]
pub(crate) struct Register {
    /// Device id, which is the CN of its certificate: the UUID of a claimed device, or any other name
    #[arg(required_unless_present = "from", requires = "certificate")]
    pub(crate) device: Option<String>,
    /// Its certificate, PEM
    #[arg(value_name = "CERT_FILE")]
    pub(crate) certificate: Option<PathBuf>,
    /// Register all rows of an onboarding CSV: device id, sub type, tags, firmware types, certificate; no header, tags and
    /// firmware types separated by `|`; `-` reads it from stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = ["device", "certificate", "tags", "sub_type", "firmware_types"])]
    pub(crate) from: Option<PathBuf>,
    /// A tag of the registration (repeat for several)
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// A word of yours for what kind of device it is
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) sub_type: String,
    /// A firmware type, e.g. APP or MODEM (repeat for several)
    #[arg(long = "firmware-type", value_name = "TYPE")]
    pub(crate) firmware_types: Vec<String>,
}

#[derive(Debug, Args)]
#[command(
    override_usage = "sectag devices revoke [OPTIONS] <DEVICE> <SERIAL>\n       sectag devices revoke [OPTIONS] <DEVICE> --all"
)]
pub(crate) struct RevokeDevice {
    /// Device id
    pub(crate) device: String,
    /// Serial number of the certificate, hexadecimal
    #[arg(required_unless_present = "all")]
    pub(crate) serial: Option<String>,
    /// All certificates that the device has; a registered device is forgotten, a claim stays
    #[arg(long, conflicts_with = "serial")]
    pub(crate) all: bool,
}
