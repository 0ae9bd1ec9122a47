//! The look at a ClientHello before DTLS takes it: any datagram is judged, and none of another kind has to wait.
#![no_main]

libfuzzer_sys::fuzz_target!(|datagram: &[u8]| {
    if sectag_server::costs_a_handshake(datagram) {
        // A handshake record (22) of epoch 0 with a ClientHello (1) in it.
        assert_eq!((datagram[0], datagram[3], datagram[4]), (22, 0, 0));
        assert_eq!(datagram[13], 1);
    }
});
