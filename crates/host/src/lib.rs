//! The machine under the gateway: what it looks like, and how a plan is applied to it.
//!
//! ```text
//!   Survey ──► gateway::Facts, Ground ──► gateway::plan::make ──► Plan
//!   Plan ──► apply: remember ─► place … ─► test ─► reload | restart ─► await ─► probe ─► decide ─► forget
//!                      └── any failure, any −9: files back, broker told again, both said ──┘
//!   status: what is written, what is served, what still runs with older settings
//! ```
//!
//! `gateway` decides what is to be done; here it is done. The order of deeds and the way back are a machine over
//! [`apply::Actions`], so that tests cut it anywhere; [`hands`] is the one that has hands.

pub mod apply;
pub mod broker;
pub mod ground;
pub mod hands;
pub mod interfaces;
pub mod journal;
pub mod machine;
pub mod probe;
pub mod processes;
pub mod record;
pub mod services;
pub mod status;
pub mod survey;
pub mod waiting;

mod log;
mod look;
mod pinned;

pub use look::{Greeting, LookError, Served, greet, look};
