//! The machine under the gateway: what it looks like, and how a plan is applied to it.
