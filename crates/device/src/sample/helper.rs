//! The states of the `mqtt_helper` library, and which call is allowed in which (spec/mqtt-tls-sample §2).

use std::fmt;

/// A state of the library, in the order of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelperState {
    /// Before `mqtt_helper_init`.
    Uninit,
    /// Ready to connect.
    Disconnected,
    /// TCP and TLS are on their way.
    TransportConnecting,
    /// TCP and TLS stand.
    TransportConnected,
    /// CONNECT is sent.
    Connecting,
    /// CONNACK said yes.
    Connected,
    /// DISCONNECT is sent.
    Disconnecting,
}

impl HelperState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Uninit,
        Self::Disconnected,
        Self::TransportConnecting,
        Self::TransportConnected,
        Self::Connecting,
        Self::Connected,
        Self::Disconnecting,
    ];

    /// Whether the library may go from here to `to`. Staying is no transition, and always fine.
    pub const fn may_become(self, to: Self) -> bool {
        match self {
            Self::Uninit => matches!(to, Self::Disconnected),
            Self::Disconnected => {
                matches!(
                    to,
                    Self::Connecting | Self::Uninit | Self::TransportConnecting
                )
            }
            Self::TransportConnecting => {
                matches!(to, Self::TransportConnected | Self::Disconnected)
            }
            Self::TransportConnected => matches!(to, Self::Connecting | Self::Disconnected),
            Self::Connecting => matches!(to, Self::Connected | Self::Disconnected),
            Self::Connected => matches!(to, Self::Disconnecting | Self::Disconnected),
            Self::Disconnecting => matches!(to, Self::Disconnected),
        }
    }

    /// The library's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uninit => "MQTT_STATE_UNINIT",
            Self::Disconnected => "MQTT_STATE_DISCONNECTED",
            Self::TransportConnecting => "MQTT_STATE_TRANSPORT_CONNECTING",
            Self::TransportConnected => "MQTT_STATE_TRANSPORT_CONNECTED",
            Self::Connecting => "MQTT_STATE_CONNECTING",
            Self::Connected => "MQTT_STATE_CONNECTED",
            Self::Disconnecting => "MQTT_STATE_DISCONNECTING",
        }
    }
}

/// A function of the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelperCall {
    /// `mqtt_helper_init`
    Init,
    /// `mqtt_helper_connect`
    Connect,
    /// `mqtt_helper_subscribe`
    Subscribe,
    /// `mqtt_helper_publish`
    Publish,
    /// `mqtt_helper_disconnect`
    Disconnect,
    /// `mqtt_helper_deinit`
    Deinit,
}

impl HelperCall {
    /// Every call.
    pub const ALL: [Self; 6] = [
        Self::Init,
        Self::Connect,
        Self::Subscribe,
        Self::Publish,
        Self::Disconnect,
        Self::Deinit,
    ];

    /// The state that the library names when it refuses.
    const fn needs(self) -> HelperState {
        match self {
            Self::Init => HelperState::Uninit,
            Self::Connect | Self::Deinit => HelperState::Disconnected,
            Self::Subscribe | Self::Publish | Self::Disconnect => HelperState::Connected,
        }
    }
}

/// A call in the wrong state: `-EOPNOTSUPP`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Library is in the wrong state ({}), {} required", state.name(), needed.name())]
pub struct WrongState {
    /// Where the library is.
    pub state: HelperState,
    /// Where it would have to be.
    pub needed: HelperState,
}

/// A transition that the table does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Invalid state transition, {} --> {}", from.name(), to.name())]
pub struct IllegalTransition {
    /// From where.
    pub from: HelperState,
    /// To where.
    pub to: HelperState,
}

/// The library's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Helper(HelperState);

impl Helper {
    /// Before `mqtt_helper_init`.
    pub const fn new() -> Self {
        Self(HelperState::Uninit)
    }

    /// Where it is.
    pub const fn state(self) -> HelperState {
        self.0
    }

    /// Whether `call` is allowed where it is.
    ///
    /// # Errors
    /// [`WrongState`], which the library answers with `-EOPNOTSUPP`.
    pub fn permits(self, call: HelperCall) -> Result<(), WrongState> {
        let needed = call.needs();
        let also = matches!(
            (call, self.0),
            (HelperCall::Init, HelperState::Disconnected)
        );
        if self.0 == needed || also {
            Ok(())
        } else {
            Err(WrongState {
                state: self.0,
                needed,
            })
        }
    }

    /// Goes to `to`; whether that was a change.
    ///
    /// # Errors
    /// [`IllegalTransition`]; the library logs it and goes there nevertheless, and so does this.
    pub fn become_state(&mut self, to: HelperState) -> Result<bool, IllegalTransition> {
        let from = std::mem::replace(&mut self.0, to);
        if from == to {
            Ok(false)
        } else if from.may_become(to) {
            Ok(true)
        } else {
            Err(IllegalTransition { from, to })
        }
    }
}

impl Default for Helper {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Helper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use HelperState::{
        Connected, Connecting, Disconnected, Disconnecting, TransportConnected,
        TransportConnecting, Uninit,
    };

    #[test]
    fn the_transitions_are_those_of_the_table() {
        let table: [(HelperState, &[HelperState]); 7] = [
            (Uninit, &[Disconnected]),
            (Disconnected, &[Connecting, Uninit, TransportConnecting]),
            (TransportConnecting, &[TransportConnected, Disconnected]),
            (TransportConnected, &[Connecting, Disconnected]),
            (Connecting, &[Connected, Disconnected]),
            (Connected, &[Disconnecting, Disconnected]),
            (Disconnecting, &[Disconnected]),
        ];
        for (from, legal) in table {
            for to in HelperState::ALL {
                assert_eq!(from.may_become(to), legal.contains(&to), "{from:?} {to:?}");
            }
        }
    }

    #[test]
    fn a_call_in_the_wrong_state_is_refused_with_both_names() {
        for state in HelperState::ALL {
            for call in HelperCall::ALL {
                let allowed = match call {
                    HelperCall::Init => matches!(state, Uninit | Disconnected),
                    HelperCall::Connect | HelperCall::Deinit => state == Disconnected,
                    HelperCall::Subscribe | HelperCall::Publish | HelperCall::Disconnect => {
                        state == Connected
                    }
                };
                assert_eq!(
                    Helper(state).permits(call).is_ok(),
                    allowed,
                    "{state:?} {call:?}"
                );
            }
        }
        assert_eq!(
            Helper(Connecting)
                .permits(HelperCall::Publish)
                .unwrap_err()
                .to_string(),
            "Library is in the wrong state (MQTT_STATE_CONNECTING), MQTT_STATE_CONNECTED required"
        );
    }

    #[test]
    fn staying_is_ignored_and_an_illegal_step_is_said_and_taken() {
        let mut helper = Helper::new();
        assert_eq!(helper.become_state(Uninit), Ok(false));
        assert_eq!(
            helper.become_state(Connected).unwrap_err().to_string(),
            "Invalid state transition, MQTT_STATE_UNINIT --> MQTT_STATE_CONNECTED"
        );
        assert_eq!(helper.state(), Connected);
    }
}
