//! Bytes from a serial line, cut in two at an arbitrary place: AT host and shell never panic, and say the same as when
//! the bytes come in one piece.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sectag_modem::VirtualModem;
use sectag_modem::host::{AtHost, NoHandler, Shell, ShellOptions, Terminator};

fuzz_target!(|input: (u8, u16, &[u8])| {
    let (which, cut, bytes) = input;
    let (first, second) = bytes.split_at(usize::from(cut).min(bytes.len()));
    let said = [&[bytes][..], &[first, second]].map(|pieces| {
        let mut modem = VirtualModem::from_seed(1);
        let mut out = Vec::new();
        let terminator = Terminator::NAMES[usize::from(which % 4)].1;
        if which < 128 {
            let mut host = AtHost::new(terminator);
            for piece in pieces {
                host.receive(piece, &mut modem, &mut out)
                    .expect("a virtual modem answers");
            }
            host.poll(&mut modem, &mut out);
        } else {
            let mut shell = Shell::new(ShellOptions {
                ansi: which & 4 != 0,
                echo: which & 8 != 0,
                raw_terminator: terminator,
                ..ShellOptions::default()
            });
            for piece in pieces {
                shell
                    .receive(piece, &mut modem, &mut NoHandler, &mut out)
                    .expect("a virtual modem answers");
            }
            shell.poll(&mut modem, &mut out);
        }
        String::from_utf8(out).expect("answers are text")
    });
    // Random parts of tokens come from a seed, so both modems draw the same.
    assert_eq!(said[0], said[1]);
});
