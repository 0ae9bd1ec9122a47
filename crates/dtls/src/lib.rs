//! DTLS 1.2 with Connection ID over Mbed TLS, without IO.
