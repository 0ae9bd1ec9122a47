//! The machine's words: what it is told and what it asks for.

use sectag_mqtt::Qos;
use sectag_proto::Uptime;

use super::words::Line;

/// Message id of the sample's subscription. Ids on the wire belong to the MQTT client here, which counts them itself.
pub const SUBSCRIBE_ID_SAMPLE: u16 = 2469;
/// Message id of the exercise's subscription, likewise.
pub const SUBSCRIBE_ID_ACADEMY: u16 = 1234;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Power is on.
    Boot,
    /// The hardware's own id (IMEI), or the negative errno of asking for it. Before [`Input::Boot`].
    HardwareId(Result<String, i32>),
    /// The name (CN) in the client certificate under the sec tags, or that there is none. Before each attempt.
    CommonName(Option<String>),
    /// What provisioning does, as it goes.
    Provisioning(Step),
    /// Provisioning is through, or stopped at its first error with this negative errno.
    Provisioned(Result<(), i32>),
    /// The network came up or went down.
    Network(bool),
    /// A button was pressed; numbers begin at 1.
    Pressed(u8),
    /// CONNACK said yes.
    Connected,
    /// CONNACK said no.
    Refused {
        /// MQTT return code.
        code: u8,
    },
    /// No connection came about.
    ConnectFailed {
        /// Negative errno.
        errno: i32,
    },
    /// SUBACK.
    Subscribed {
        /// Granted QoS, or 128.
        code: u8,
    },
    /// The subscription could not be sent, or stayed unanswered.
    SubscribeFailed {
        /// Negative errno.
        errno: i32,
    },
    /// A message was acknowledged, or could not be sent.
    Published {
        /// Which.
        message: Message,
        /// Negative errno.
        outcome: Result<(), i32>,
    },
    /// A message came.
    Received {
        /// Its topic.
        topic: String,
        /// Its payload.
        payload: Vec<u8>,
    },
    /// The connection is over.
    Disconnected {
        /// Negative errno, 0 when this side ended it.
        errno: i32,
    },
    /// Something that the sample cannot live with.
    Fatal,
    /// The user wants it to end.
    Stop,
    /// The time of [`Output::Wait`] has come.
    Tick,
}

/// A step of writing the CA certificate, for the exercise's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It was there and was compared.
    Compared {
        /// Whether it was the same.
        same: bool,
    },
    /// It will be written.
    Writing,
    /// Whether it is there could not be found out.
    CheckFailed {
        /// Negative errno.
        errno: i32,
    },
    /// It could not be written.
    WriteFailed {
        /// Negative errno.
        errno: i32,
    },
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Print this.
    Log(Line),
    /// Write credentials while the modem is offline; answers [`Input::Provisioning`], then [`Input::Provisioned`].
    Provision,
    /// Bring the network up; answered by [`Input::Network`].
    Online,
    /// Connect; answers [`Input::Connected`], [`Input::Refused`] or [`Input::ConnectFailed`].
    Connect {
        /// Client identifier.
        client_id: String,
    },
    /// Forget the attempt to connect; nothing more is heard of it.
    Abandon,
    /// Subscribe; answers [`Input::Subscribed`] or [`Input::SubscribeFailed`].
    Subscribe {
        /// Topic filter.
        topic: String,
        /// Quality of service.
        qos: Qos,
        /// Id that the firmware uses; see [`SUBSCRIBE_ID_SAMPLE`].
        message_id: u16,
    },
    /// Publish; answers [`Input::Published`].
    Publish(Message),
    /// End the connection; answered by [`Input::Disconnected`].
    Disconnect,
    /// A light changes.
    Led {
        /// Numbers begin at 1.
        number: u8,
        /// Whether it shines.
        on: bool,
    },
    /// Begin anew with a new machine.
    Reboot,
    /// It is over.
    End(Ending),
    /// Nothing more to do until an input, or until this time.
    Wait(Option<Uptime>),
}

/// A message to publish, with QoS 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Topic.
    pub topic: String,
    /// Payload.
    pub payload: String,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As many messages as asked for were acknowledged.
    Counted,
    /// The user ended it.
    Stopped,
    /// A fatal error, and [`Config::reboot_on_fatal`](super::Config::reboot_on_fatal) is off.
    Fatal,
    /// Credentials could not be written; the firmware's sample would go on and fail to connect.
    NotProvisioned,
}
