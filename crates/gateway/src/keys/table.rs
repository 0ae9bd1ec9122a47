//! The table (spec/gateway-config §2.1–2.6), in the order of declaration.

use super::{Default, Holds, Key, Kind};
use Default::{Certificate, Fixed, Inferred, Same, Under, Unset};
use Kind::{Bool, Duration, Host, HostPort, Ip, List, Number, Path, Port, Text, Topic, Words};

/// All keys.
pub(super) static KEYS: &[Key] = &[
    // The device's own identity, for clouds
    key("device.id", Text, Certificate)
        .about("Name of this device.")
        .note("Read from the device certificate; what is configured counts only while there is none.")
        .examples(&["gw-0042"]),
    key("device.cert_path", Path, Under("device-certs/tedge-certificate.pem"))
        .about("Certificate with which this device identifies itself to its cloud.")
        .holds(Holds::Certificate)
        .examples(&["/etc/tedge/device-certs/tedge-certificate.pem"]),
    key("device.key_path", Path, Under("device-certs/tedge-private-key.pem"))
        .about("Private key of the device certificate.")
        .holds(Holds::PrivateKey)
        .examples(&["/etc/tedge/device-certs/tedge-private-key.pem"]),
    key("device.csr_path", Path, Under("device-certs/tedge.csr"))
        .about("Where a certificate signing request of this device is written.")
        .examples(&["/etc/tedge/device-certs/tedge.csr"]),
    key("device.key_uri", Text, Unset)
        .about("PKCS#11 URI of the device's private key when a token keeps it.")
        .note("Tokens serve connections to clouds, never the broker or its local clients.")
        .examples(&["pkcs11:token=gateway;object=device"]),
    key("device.key_pin", Text, Unset)
        .about("PIN that is sent to the token together with `device.key_uri`.")
        .secret(),
    key("device.cryptoki.mode", Words(&["off", "module", "socket"]), Fixed("off"))
        .about("How a PKCS#11 token is reached: not at all, by a library, or by a socket.")
        .examples(&["off", "module", "socket"]),
    key("device.cryptoki.module_path", Path, Unset)
        .about("PKCS#11 library to load in mode `module`.")
        .holds(Holds::File)
        .examples(&["/usr/lib/softhsm/libsofthsm2.so"]),
    key("device.cryptoki.pin", Text, Fixed("123456"))
        .about("PIN of the token.")
        .note("The default is known to everybody; choose another.")
        .secret(),
    key("device.cryptoki.uri", Text, Unset)
        .about("PKCS#11 URI that the token server uses to choose token and key.")
        .examples(&["pkcs11:token=gateway"]),
    key(
        "device.cryptoki.socket_path",
        Path,
        Fixed("/run/tedge-p11-server/tedge-p11-server.sock"),
    )
    .about("Socket of the token server in mode `socket`."),
    key("certificate.validity.requested_duration", Duration, Fixed("365d"))
        .about("How long a new certificate is valid; whole days count.")
        .examples(&["365d", "1y"]),
    key("certificate.validity.minimum_duration", Duration, Fixed("30d"))
        .about("A certificate that expires sooner is due for renewal.")
        .examples(&["30d"]),
    key("certificate.organization", Text, Fixed("Thin Edge"))
        .about("Organization (O) in self-signed certificates and signing requests."),
    key("certificate.organization_unit", Text, Fixed("Device"))
        .about("Organizational unit (OU) in self-signed certificates and signing requests."),
    // Clouds
    key("c8y.url", HostPort, Unset)
        .about("Address of the Cumulocity tenant.")
        .examples(&["tenant.example.com"])
        .profiled(),
    key("c8y.root_cert_path", Path, Fixed("/etc/ssl/certs"))
        .about("Whom to trust as the Cumulocity server: a file, or a directory of certificates.")
        .holds(Holds::Authorities)
        .profiled(),
    key("c8y.device.id", Text, Same("device.id"))
        .about("Name of this device in Cumulocity.")
        .profiled(),
    key("c8y.device.cert_path", Path, Same("device.cert_path"))
        .about("Device certificate for Cumulocity.")
        .holds(Holds::Certificate)
        .profiled(),
    key("c8y.device.key_path", Path, Same("device.key_path"))
        .about("Private key of the device certificate for Cumulocity.")
        .holds(Holds::PrivateKey)
        .profiled(),
    key("c8y.device.csr_path", Path, Same("device.csr_path"))
        .about("Signing request for Cumulocity.")
        .profiled(),
    key("c8y.smartrest.templates", List, Fixed(""))
        .about("SmartREST templates of the device.")
        .examples(&["template-1,template-2"])
        .profiled(),
    key("c8y.mapper.mqtt.max_payload_size", Number, Fixed("16184"))
        .about("Largest MQTT payload toward Cumulocity, in bytes.")
        .examples(&["16184"])
        .profiled(),
    key("c8y.proxy.bind.address", Ip, Fixed("127.0.0.1"))
        .about("Address on which the proxy for Cumulocity's HTTP API listens.")
        .note("Says nothing about the broker, and no key of the broker changes it.")
        .examples(&["127.0.0.1", "0.0.0.0"])
        .profiled(),
    key("c8y.proxy.bind.port", Port, Fixed("8001"))
        .about("Port on which the proxy for Cumulocity's HTTP API listens.")
        .examples(&["8001"])
        .profiled(),
    key("c8y.proxy.cert_path", Path, Unset)
        .about("Certificate of the proxy's TLS listener.")
        .note("Together with `c8y.proxy.key_path`.")
        .holds(Holds::Certificate)
        .profiled(),
    key("c8y.proxy.key_path", Path, Unset)
        .about("Private key of the proxy's TLS listener.")
        .note("Together with `c8y.proxy.cert_path`.")
        .holds(Holds::PrivateKey)
        .profiled(),
    key("c8y.proxy.ca_path", Path, Unset)
        .about("Who signs clients of the proxy: a file or a directory. When set, they need a certificate.")
        .holds(Holds::Authorities)
        .profiled(),
    key("c8y.mqtt_service.enabled", Bool, Fixed("false"))
        .about("Whether Cumulocity's MQTT service is used.")
        .profiled(),
    key("c8y.mqtt_service.topics", List, Fixed(""))
        .about("Topics that are carried to and from Cumulocity's MQTT service.")
        .profiled(),
    key("az.url", HostPort, Unset)
        .about("Address of the Azure IoT hub.")
        .examples(&["hub.azure-devices.example.net"])
        .profiled(),
    key("az.root_cert_path", Path, Fixed("/etc/ssl/certs"))
        .about("Whom to trust as the Azure server: a file, or a directory of certificates.")
        .holds(Holds::Authorities)
        .profiled(),
    key("az.device.id", Text, Same("device.id"))
        .about("Name of this device in Azure.")
        .profiled(),
    key("az.device.cert_path", Path, Same("device.cert_path"))
        .about("Device certificate for Azure.")
        .holds(Holds::Certificate)
        .profiled(),
    key("az.device.key_path", Path, Same("device.key_path"))
        .about("Private key of the device certificate for Azure.")
        .holds(Holds::PrivateKey)
        .profiled(),
    key("az.device.csr_path", Path, Same("device.csr_path"))
        .about("Signing request for Azure.")
        .profiled(),
    key("az.mapper.mqtt.max_payload_size", Number, Fixed("262144"))
        .about("Largest MQTT payload toward Azure, in bytes.")
        .examples(&["262144"])
        .profiled(),
    key("aws.url", HostPort, Unset)
        .about("Address of the AWS IoT endpoint.")
        .examples(&["endpoint.iot.example.com"])
        .profiled(),
    key("aws.root_cert_path", Path, Fixed("/etc/ssl/certs"))
        .about("Whom to trust as the AWS server: a file, or a directory of certificates.")
        .holds(Holds::Authorities)
        .profiled(),
    key("aws.device.id", Text, Same("device.id"))
        .about("Name of this device in AWS.")
        .profiled(),
    key("aws.device.cert_path", Path, Same("device.cert_path"))
        .about("Device certificate for AWS.")
        .holds(Holds::Certificate)
        .profiled(),
    key("aws.device.key_path", Path, Same("device.key_path"))
        .about("Private key of the device certificate for AWS.")
        .holds(Holds::PrivateKey)
        .profiled(),
    key("aws.device.csr_path", Path, Same("device.csr_path"))
        .about("Signing request for AWS.")
        .profiled(),
    key("aws.mapper.mqtt.max_payload_size", Number, Fixed("131072"))
        .about("Largest MQTT payload toward AWS, in bytes.")
        .examples(&["131072"])
        .profiled(),
    // MQTT
    key("mqtt.topic_root", Topic, Fixed("te"))
        .about("First level of all topics of this gateway.")
        .examples(&["te"]),
    key("mqtt.device_topic_id", Topic, Fixed("device/main//"))
        .about("Topic levels of this device below the root, four of them.")
        .examples(&["device/main//", "device/child001//"]),
    key("mqtt.bind.enabled", Bool, Fixed("true"))
        .about("Whether the broker's configuration is written here.")
        .examples(&["true", "false"]),
    key("mqtt.bind.address", Ip, Fixed("127.0.0.1"))
        .aliases(&["mqtt.bind_address"])
        .about("Address of the broker's internal listener, for services of this machine: plaintext and anonymous.")
        .examples(&["127.0.0.1"]),
    key("mqtt.bind.port", Port, Fixed("1883"))
        .aliases(&["mqtt.port"])
        .about("Port of the broker's internal listener.")
        .examples(&["1883"]),
    key("mqtt.client.host", Host, Fixed("127.0.0.1"))
        .aliases(&["mqtt.client_host"])
        .about("Where this machine's services find the broker; with TLS, a name or address in its certificate.")
        .examples(&["localhost", "127.0.0.1"]),
    key("mqtt.client.port", Port, Inferred)
        .aliases(&["mqtt.client_port"])
        .about("Port on which this machine's services reach the broker.")
        .note("When unset: with a trusted CA the external listener's port, or 8883 on another host; else `mqtt.bind.port`.")
        .examples(&["1883", "8883"]),
    key("mqtt.client.server_name", Host, Unset)
        .about("Name that the broker's certificate must have, when it is not `mqtt.client.host`.")
        .note("For a broker that is reached by an address which is not in its certificate.")
        .examples(&["gateway.local"])
        .ours(),
    key("mqtt.client.auth.ca_file", Path, Unset)
        .aliases(&[
            "mqtt.client.auth.cafile",
            "mqtt.client.cafile",
            "mqtt.client_ca_file",
        ])
        .about("File with the CA certificates that this machine's services trust as the broker's issuer.")
        .note("Turns TLS on.")
        .holds(Holds::Certificate)
        .examples(&["/etc/mosquitto/ca_certificates/ca.crt"]),
    key("mqtt.client.auth.ca_dir", Path, Unset)
        .aliases(&[
            "mqtt.client.auth.cadir",
            "mqtt.client.cadir",
            "mqtt.client_ca_path",
        ])
        .about("Directory with such files, named `.pem`, `.crt` or `.cer`.")
        .note("Turns TLS on. With `mqtt.client.auth.ca_file`, the certificates of both are trusted.")
        .holds(Holds::AuthorityDir)
        .examples(&["/etc/mosquitto/ca_certificates"]),
    key("mqtt.client.auth.cert_file", Path, Unset)
        .aliases(&["mqtt.client.auth.certfile", "mqtt.client_auth.cert_file"])
        .about("Certificate with which this machine's services identify themselves to the broker.")
        .note("Together with `mqtt.client.auth.key_file`.")
        .holds(Holds::Certificate)
        .examples(&["/etc/tedge/mqtt-certs/client.crt"]),
    key("mqtt.client.auth.key_file", Path, Unset)
        .aliases(&["mqtt.client.auth.keyfile", "mqtt.client_auth.key_file"])
        .about("Private key of that certificate.")
        .note("Together with `mqtt.client.auth.cert_file`.")
        .holds(Holds::PrivateKey)
        .examples(&["/etc/tedge/mqtt-certs/client.key"]),
    key("mqtt.client.auth.username", Text, Unset)
        .about("User name with which this machine's services log in to the broker."),
    key("mqtt.client.auth.password_file", Path, Unset)
        .about("File whose first line is the password of `mqtt.client.auth.username`.")
        .holds(Holds::File)
        .examples(&["/etc/tedge/mqtt-password"]),
    key("mqtt.external.bind.port", Port, Inferred)
        .aliases(&["mqtt.external.port", "mqtt.external_port"])
        .about("Port of the broker's external listener, for other devices.")
        .note("When unset and another key of the listener is set: 8883 with certificate and key, else 1883.")
        .examples(&["8883"]),
    key("mqtt.external.bind.address", Host, Unset)
        .aliases(&["mqtt.external.bind_address", "mqtt.external_bind_address"])
        .about("Address of the external listener, or a host name that is resolved when the broker is configured.")
        .note("When unset: all addresses of this machine.")
        .examples(&["0.0.0.0", "gateway.local"]),
    key("mqtt.external.bind.interface", Text, Unset)
        .aliases(&["mqtt.external.bind_interface", "mqtt.external_bind_interface"])
        .about("Network interface to which the external listener is limited.")
        .examples(&["wlan0"]),
    key("mqtt.external.ca_path", Path, Unset)
        .aliases(&["mqtt.external.capath", "mqtt.external_capath"])
        .about("Who signs clients of the external listener: a file, or a directory with hash links.")
        .note("When set, clients need a certificate.")
        .holds(Holds::Authorities)
        .examples(&["/etc/mosquitto/ca_certificates/clients-ca.crt"]),
    key("mqtt.external.cert_file", Path, Unset)
        .aliases(&["mqtt.external.certfile", "mqtt.external_certfile"])
        .about("Certificate of the external listener, followed by its intermediates.")
        .note("Together with `mqtt.external.key_file`.")
        .holds(Holds::Certificate)
        .examples(&["/etc/mosquitto/certs/server.crt"]),
    key("mqtt.external.key_file", Path, Unset)
        .aliases(&["mqtt.external.keyfile", "mqtt.external_keyfile"])
        .about("Private key of that certificate.")
        .note("Together with `mqtt.external.cert_file`.")
        .holds(Holds::PrivateKey)
        .examples(&["/etc/mosquitto/certs/server.key"]),
    key("mqtt.external.crl_file", Path, Unset)
        .about("Revoked client certificates of the external listener, PEM.")
        .note("Each CA under `mqtt.external.ca_path` needs a current list in it.")
        .holds(Holds::File)
        .examples(&["/etc/mosquitto/certs/clients.crl"])
        .ours(),
    key("mqtt.bridge.built_in", Bool, Fixed("true"))
        .about("Whether the bridge to a cloud runs in its mapper; else mosquitto does it."),
    key("mqtt.bridge.reconnect_policy.initial_interval", Duration, Fixed("5s"))
        .about("Pause before the bridge's first attempt to reconnect."),
    key("mqtt.bridge.reconnect_policy.maximum_interval", Duration, Fixed("10m"))
        .about("Longest pause between attempts of the bridge to reconnect."),
    key("mqtt.bridge.reconnect_policy.reset_window", Duration, Fixed("5m"))
        .about("A connection that lasts so long brings the pause back to the initial one."),
    // Neighbours that touch the same sockets
    key("http.bind.address", Ip, Fixed("127.0.0.1"))
        .about("Address of the file transfer service for child devices.")
        .note("No key of the broker changes it.")
        .examples(&["127.0.0.1", "192.168.1.2", "0.0.0.0"]),
    key("http.bind.port", Port, Fixed("8000"))
        .aliases(&["http.port"])
        .about("Port of the file transfer service.")
        .examples(&["8000"]),
    key("http.client.host", Host, Fixed("127.0.0.1"))
        .about("Where this machine's services find the file transfer service.")
        .examples(&["127.0.0.1"]),
    key("http.client.port", Port, Fixed("8000"))
        .about("Port on which they reach it.")
        .examples(&["8000"]),
    key("http.client.auth.cert_file", Path, Unset)
        .about("Certificate with which this machine's services identify themselves to the file transfer service.")
        .note("Together with `http.client.auth.key_file`.")
        .holds(Holds::Certificate),
    key("http.client.auth.key_file", Path, Unset)
        .about("Private key of that certificate.")
        .note("Together with `http.client.auth.cert_file`.")
        .holds(Holds::PrivateKey),
    key("http.cert_path", Path, Unset)
        .about("Certificate of the file transfer service.")
        .note("Together with `http.key_path`; both mean HTTPS.")
        .holds(Holds::Certificate),
    key("http.key_path", Path, Unset)
        .about("Private key of that certificate.")
        .note("Together with `http.cert_path`; both mean HTTPS.")
        .holds(Holds::PrivateKey),
    key("http.ca_path", Path, Unset)
        .about("Who signs clients of the file transfer service: a file or a directory. When set, they need a certificate.")
        .holds(Holds::Authorities),
    key("proxy.address", Text, Unset)
        .about("HTTP proxy on the way to clouds.")
        .examples(&["http://proxy.example.com:3128"]),
    key("proxy.username", Text, Unset).about("User name for the proxy."),
    key("proxy.password", Text, Unset)
        .about("Password for the proxy.")
        .note("In clear in the file: keep the file's mode at 0600.")
        .secret(),
    key("proxy.no_proxy", Text, Unset)
        .about("Hosts that are reached without the proxy, separated by commas.")
        .examples(&["localhost,127.0.0.1"]),
];

const fn key(name: &'static str, kind: Kind, default: Default) -> Key {
    Key {
        name,
        kind,
        default,
        aliases: &[],
        about: "",
        note: None,
        examples: &[],
        secret: false,
        profiled: false,
        ours: false,
        holds: Holds::Anything,
    }
}

impl Key {
    const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    const fn about(mut self, about: &'static str) -> Self {
        self.about = about;
        self
    }

    const fn note(mut self, note: &'static str) -> Self {
        self.note = Some(note);
        self
    }

    const fn examples(mut self, examples: &'static [&'static str]) -> Self {
        self.examples = examples;
        self
    }

    const fn holds(mut self, holds: Holds) -> Self {
        self.holds = holds;
        self
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    const fn profiled(mut self) -> Self {
        self.profiled = true;
        self
    }

    const fn ours(mut self) -> Self {
        self.ours = true;
        self
    }
}
