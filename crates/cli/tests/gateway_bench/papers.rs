//! Keys and certificates by openssl, the way people make them: all key formats, and the mistakes.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder of papers; `NAME.crt` and `NAME.key`.
pub(crate) struct Papers {
    dir: tempfile::TempDir,
}

impl Papers {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let made = Command::new("sh")
            .args(["-e", "-c", SCRIPT])
            .current_dir(dir.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{said}");
        Self { dir }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

const SCRIPT: &str = r#"
umask 077
ca() { # name, CN
    openssl ecparam -name prime256v1 -genkey -noout -out $1.key
    openssl req -x509 -new -key $1.key -subj "/O=House/CN=$2" -days 90 -out $1.crt \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
}
sign() { # name, CA, days, extensions
    openssl req -new -key $1.key -subj "/CN=$1" -out $1.csr
    printf "$4" > $1.ext
    openssl x509 -req -in $1.csr -CA $2.crt -CAkey $2.key -CAcreateserial -days $3 -extfile $1.ext -out $1.crt
}
SERVER="basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName="
CLIENT="basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n"

ca ca "Test Root"
ca clients "Clients Root"
ca other "Elsewhere"
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out server.key
cp server.key server-ip.key
cp server.key server-old.key
cp server.key server-new.key
sign server ca 90 "${SERVER}DNS:localhost,DNS:gw.example\n"
sign server-ip ca 90 "${SERVER}DNS:localhost,IP:127.0.0.1\n"
sign server-new other 90 "${SERVER}DNS:localhost\n"
sign server-old ca -1 "${SERVER}DNS:localhost\n"

openssl ecparam -name prime256v1 -genkey -noout -out client.key                 # SEC 1
openssl pkcs8 -topk8 -nocrypt -in client.key -out client-pkcs8.key              # PKCS#8
openssl genrsa -traditional -out client-rsa.key 2048 2>/dev/null                # PKCS#1
openssl ecparam -name prime256v1 -genkey -noout -out client-foreign.key
sign client clients 90 "$CLIENT"
sign client-rsa clients 90 "$CLIENT"
sign client-foreign other 90 "$CLIENT"
# Without an extension file openssl 3.0 issues version 1.
openssl x509 -req -in client.csr -CA clients.crt -CAkey clients.key -CAcreateserial -days 90 -out client-v1.crt
openssl ec -in client.key -aes256 -passout pass:secret -out client-encrypted.key
openssl pkcs8 -topk8 -in client.key -passout pass:secret -out client-encrypted8.key

# An empty list of revocations of the clients' CA, version 2 (RFC 5280 §5.1.2.1).
touch index.txt
printf '[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ndefault_md=sha256\ndefault_crl_days=90\ncrlnumber=number\ncrl_extensions=x\n[x]\nauthorityKeyIdentifier=keyid\n' > crl.conf
echo 01 > number
openssl ca -config crl.conf -gencrl -keyfile clients.key -cert clients.crt -out clients.crl

mkdir dir-good dir-backup dir-broken dir-empty
cp ca.crt dir-good/ca.crt
echo notes > dir-good/README.txt
cp ca.crt dir-backup/ca.pem.bak
cp ca.crt dir-broken/good.pem
printf -- '-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n' > dir-broken/bad.pem
printf 'right\nsecond line\n' > password
printf 'wrong\n' > password-wrong
: > password-empty
"#;
