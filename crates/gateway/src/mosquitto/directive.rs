//! The words of mosquitto's configuration file: scope, kind of value, which version knows them.
//!
//! Names and scopes are those of the manual page `mosquitto.conf(5)` of 2.0.11 and 2.1; a test with Debian's broker
//! compares the table with what that one accepts.

/// A directive as mosquitto knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// First word of the line.
    pub name: &'static str,
    /// What it applies to.
    pub scope: Scope,
    /// What follows it.
    pub kind: Kind,
    /// Known to 2.0.
    pub in_2_0: bool,
    /// 2.1 refuses it before the first `listener` of its file; otherwise it opens the default listener there.
    pub needs_listener_in_2_1: bool,
    /// What 2.1 makes of the same directive twice.
    pub twice_in_2_1: Duplicate,
}

/// What a directive applies to (spec/gateway-config §14).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The broker.
    Global,
    /// The listener that the file has opened last, else the default listener.
    Listener,
    /// The broker; with `per_listener_settings true` as [`Scope::Listener`].
    Security,
    /// The default listener: `port`, `bind_address`.
    DefaultListener,
    /// The `connection` before it.
    Bridge,
    /// The plugin before it.
    Plugin,
}

/// What follows a directive's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true`, `false`, `1`, `0`; the rest of the line is ignored.
    Bool,
    /// A number; 2.0 reads leading digits, 2.1 wants nothing else.
    Int,
    /// The rest of the line, trimmed.
    Text,
    /// Words, or not looked at here; may be repeated.
    Words,
}

/// The same directive twice in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicate {
    /// The broker does not start.
    Refused,
    /// The last one is taken.
    Last,
}

/// The word with this name. `auth_opt_…` and `plugin_opt_…` are one word each.
pub fn word(name: &str) -> Option<&'static Word> {
    let name = ["auth_opt_", "plugin_opt_"]
        .into_iter()
        .find(|prefix| name.starts_with(prefix))
        .unwrap_or(name);
    WORDS.iter().find(|word| word.name == name)
}

/// All of them.
pub fn words() -> &'static [Word] {
    WORDS
}

const fn base(name: &'static str, scope: Scope, kind: Kind) -> Word {
    Word {
        name,
        scope,
        kind,
        in_2_0: true,
        needs_listener_in_2_1: false,
        twice_in_2_1: Duplicate::Refused,
    }
}

impl Word {
    const fn since_2_1(mut self) -> Self {
        self.in_2_0 = false;
        self
    }

    const fn bound(mut self) -> Self {
        self.needs_listener_in_2_1 = true;
        self
    }

    const fn last(mut self) -> Self {
        self.twice_in_2_1 = Duplicate::Last;
        self
    }
}

use Kind::{Bool, Int, Text, Words};
use Scope::{Bridge, DefaultListener, Global, Listener, Plugin, Security};

const WORDS: &[Word] = &[
    // The broker.
    base("allow_duplicate_messages", Global, Bool),
    base("autosave_interval", Global, Int),
    base("autosave_on_changes", Global, Bool),
    base("check_retain_source", Global, Bool),
    base("clientid_prefixes", Global, Text).last(),
    base("connection_messages", Global, Bool),
    base("enable_control_api", Global, Bool).since_2_1(),
    base("global_max_clients", Global, Int).since_2_1(),
    base("global_max_connections", Global, Int).since_2_1(),
    base("global_plugin", Global, Words).since_2_1(),
    base("include_dir", Global, Words),
    base("log_dest", Global, Words),
    base("log_facility", Global, Int),
    base("log_timestamp", Global, Bool),
    base("log_timestamp_format", Global, Text),
    base("log_type", Global, Words),
    base("max_inflight_bytes", Global, Int),
    base("max_inflight_messages", Global, Int),
    base("max_keepalive", Global, Int),
    base("max_packet_size", Global, Int),
    base("max_queued_bytes", Global, Int),
    base("max_queued_messages", Global, Int),
    base("memory_limit", Global, Words),
    base("message_size_limit", Global, Int),
    base("packet_buffer_size", Global, Int).since_2_1(),
    base("per_listener_settings", Global, Bool),
    base("persistence", Global, Bool),
    base("persistence_file", Global, Text),
    base("persistence_location", Global, Text),
    base("persistent_client_expiration", Global, Words),
    base("pid_file", Global, Text),
    base("plugin_load", Global, Words).since_2_1(),
    base("queue_qos0_messages", Global, Bool),
    base("retain_available", Global, Bool),
    base("retain_expiry_interval", Global, Int).since_2_1(),
    base("retained_persistence", Global, Bool),
    base("retry_interval", Global, Words),
    base("set_tcp_nodelay", Global, Bool),
    base("sys_interval", Global, Int),
    base("upgrade_outgoing_qos", Global, Bool),
    base("user", Global, Text).last(),
    base("websockets_headers_size", Global, Int),
    base("websockets_log_level", Global, Int),
    // Listeners.
    base("listener", Listener, Words),
    base("port", DefaultListener, Int),
    base("bind_address", DefaultListener, Text),
    base("accept_protocol_versions", Listener, Words)
        .since_2_1()
        .bound(),
    base("bind_interface", Listener, Text),
    base("cafile", Listener, Text).bound().last(),
    base("capath", Listener, Text).last(),
    base("certfile", Listener, Text).last(),
    base("ciphers", Listener, Text).last(),
    base("ciphers_tls1.3", Listener, Text).last(),
    base("crlfile", Listener, Text).last(),
    base("dhparamfile", Listener, Text).last(),
    base("disable_client_cert_date_checks", Listener, Bool)
        .since_2_1()
        .bound(),
    base("enable_proxy_protocol", Listener, Int)
        .since_2_1()
        .bound(),
    base("http_dir", Listener, Text).bound(),
    base("keyfile", Listener, Text).last(),
    base("listener_allow_anonymous", Listener, Bool)
        .since_2_1()
        .bound(),
    base("listener_auto_id_prefix", Listener, Text)
        .since_2_1()
        .bound(),
    base("max_connections", Listener, Int),
    base("max_qos", Listener, Int),
    base("max_topic_alias", Listener, Int).bound(),
    base("max_topic_alias_broker", Listener, Int)
        .since_2_1()
        .bound(),
    base("maximum_qos", Listener, Int),
    base("mount_point", Listener, Text).bound().last(),
    base("plugin_use", Listener, Words).since_2_1().bound(),
    base("protocol", Listener, Words),
    base("proxy_protocol_v2_require_tls", Listener, Bool)
        .since_2_1()
        .bound(),
    base("psk_hint", Listener, Text),
    base("require_certificate", Listener, Bool),
    base("socket_domain", Listener, Words),
    base("tls_engine", Listener, Text),
    base("tls_engine_kpass_sha1", Listener, Words),
    base("tls_keyform", Listener, Words),
    base("tls_version", Listener, Text).bound(),
    base("use_identity_as_username", Listener, Bool),
    base("use_subject_as_username", Listener, Bool),
    base("use_username_as_clientid", Listener, Bool),
    base("websockets_origin", Listener, Words)
        .since_2_1()
        .bound(),
    // Who may come in and do what.
    base("acl_file", Security, Text).last(),
    base("allow_anonymous", Security, Bool),
    base("allow_zero_length_clientid", Security, Bool),
    base("auth_plugin", Security, Words),
    base("auto_id_prefix", Security, Text),
    base("password_file", Security, Text).last(),
    base("plugin", Security, Words),
    base("psk_file", Security, Text).last(),
    base("auth_opt_", Plugin, Words),
    base("auth_plugin_deny_special_chars", Plugin, Bool),
    base("plugin_opt_", Plugin, Words),
    // Bridges.
    base("address", Bridge, Words),
    base("addresses", Bridge, Words),
    base("bridge_alpn", Bridge, Words),
    base("bridge_attempt_unsubscribe", Bridge, Words),
    base("bridge_bind_address", Bridge, Words),
    base("bridge_cafile", Bridge, Words),
    base("bridge_capath", Bridge, Words),
    base("bridge_certfile", Bridge, Words),
    base("bridge_ciphers", Bridge, Words).since_2_1(),
    base("bridge_ciphers_tls1.3", Bridge, Words).since_2_1(),
    base("bridge_identity", Bridge, Words),
    base("bridge_insecure", Bridge, Words),
    base("bridge_keyfile", Bridge, Words),
    base("bridge_max_packet_size", Bridge, Words),
    base("bridge_max_topic_alias", Bridge, Words).since_2_1(),
    base("bridge_outgoing_retain", Bridge, Words),
    base("bridge_protocol_version", Bridge, Words),
    base("bridge_psk", Bridge, Words),
    base("bridge_receive_maximum", Bridge, Words).since_2_1(),
    base("bridge_reload_type", Bridge, Words).since_2_1(),
    base("bridge_require_ocsp", Bridge, Words),
    base("bridge_session_expiry_interval", Bridge, Words).since_2_1(),
    base("bridge_tcp_keepalive", Bridge, Words).since_2_1(),
    base("bridge_tcp_user_timeout", Bridge, Words).since_2_1(),
    base("bridge_tls_use_os_certs", Bridge, Words).since_2_1(),
    base("bridge_tls_version", Bridge, Words),
    base("cleansession", Bridge, Words),
    base("clientid", Bridge, Words),
    base("connection", Bridge, Words),
    base("idle_timeout", Bridge, Words),
    base("keepalive_interval", Bridge, Words),
    base("local_cleansession", Bridge, Words),
    base("local_clientid", Bridge, Words),
    base("local_password", Bridge, Words),
    base("local_username", Bridge, Words),
    base("notification_topic", Bridge, Words),
    base("notifications", Bridge, Words),
    base("notifications_local_only", Bridge, Words),
    base("password", Bridge, Words),
    base("remote_clientid", Bridge, Words),
    base("remote_password", Bridge, Words),
    base("remote_username", Bridge, Words),
    base("restart_timeout", Bridge, Words),
    base("round_robin", Bridge, Words),
    base("start_type", Bridge, Words),
    base("threshold", Bridge, Words),
    base("topic", Bridge, Words),
    base("try_private", Bridge, Words),
    base("username", Bridge, Words),
];
