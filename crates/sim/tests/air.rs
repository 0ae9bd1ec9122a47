//! What the air does to datagrams, and that it does the same again for the same seed.
#![cfg(feature = "coap")]
#![allow(clippy::unwrap_used)]

use sectag_proto::Uptime;
use sectag_sim::air::{Air, Arrival, Rebinding, Way, Weather};
use std::net::SocketAddr;
use std::time::Duration;

const CALM: Weather = Weather {
    rebinding: Rebinding::Never,
    ..Weather::FAIR
};

/// A thousand datagrams up, one a second, and what arrives in the end.
fn thousand(weather: Weather, seed: u64) -> (Air, Vec<(Uptime, Arrival)>) {
    let mut air = Air::new(weather, seed);
    for number in 0..1000_u16 {
        let bytes = number.to_be_bytes().to_vec();
        air.send(Way::Up(40_001), bytes, Uptime(u64::from(number) * 100));
    }
    let arrived = drain(&mut air);
    (air, arrived)
}

fn drain(air: &mut Air) -> Vec<(Uptime, Arrival)> {
    let mut arrived = Vec::new();
    while let Some(at) = air.next() {
        arrived.push((at, air.arrived(at).unwrap()));
    }
    arrived
}

fn numbers(arrived: &[(Uptime, Arrival)]) -> Vec<u16> {
    let number = |(_, arrival): &(Uptime, Arrival)| match arrival {
        Arrival::AtService { bytes, .. } | Arrival::AtDevice { bytes, .. } => {
            u16::from_be_bytes(bytes[..].try_into().unwrap())
        }
    };
    arrived.iter().map(number).collect()
}

fn sender(arrival: &Arrival) -> SocketAddr {
    match arrival {
        Arrival::AtService { from, .. } => *from,
        Arrival::AtDevice { .. } => panic!("it went up"),
    }
}

/// A record with a Connection ID, as far as the air looks.
fn cid_record() -> Vec<u8> {
    vec![25; 40]
}

#[test]
fn calm_air_carries_everything_in_its_order_and_counts_headers() {
    let (air, arrived) = thousand(CALM, 1);
    assert!(numbers(&arrived).is_sorted());
    assert_eq!(
        (arrived.len(), air.up.datagrams, air.up.lost),
        (1000, 1000, 0)
    );
    assert_eq!(air.up.on_air(), 1000 * (2 + 28));
}

#[test]
fn a_fifth_is_lost_when_a_fifth_is_to_be_lost() {
    let (air, arrived) = thousand(Weather { lost: 200, ..CALM }, 2);
    assert!((150..250).contains(&air.up.lost), "{}", air.up.lost);
    assert_eq!(arrived.len() as u64, 1000 - air.up.lost);
}

#[test]
fn some_arrive_twice_and_some_are_overtaken() {
    let weather = Weather {
        twice: 200,
        late: 200,
        ..CALM
    };
    let (air, arrived) = thousand(weather, 3);
    assert!((150..250).contains(&air.up.twice), "{}", air.up.twice);
    assert_eq!(arrived.len() as u64, 1000 + air.up.twice);
    assert!(!numbers(&arrived).is_sorted());
}

#[test]
fn the_same_seed_is_the_same_air() {
    let weather = Weather {
        lost: 100,
        twice: 100,
        late: 100,
        ..CALM
    };
    let (air, arrived) = thousand(weather, 4);
    let (same_air, same) = thousand(weather, 4);
    assert_eq!((air.hash(), &arrived), (same_air.hash(), &same));
    let (_, other) = thousand(weather, 5);
    assert_ne!(arrived, other);
}

#[test]
fn what_is_larger_than_the_mtu_is_lost() {
    let mut air = Air::new(CALM, 6);
    air.send(Way::Up(40_001), vec![0; 1252], Uptime(0));
    air.send(Way::Up(40_001), vec![0; 1253], Uptime(0));
    assert_eq!((air.up.too_large, drain(&mut air).len()), (1, 1));
}

#[test]
fn every_second_record_comes_from_another_port_and_the_old_one_is_dead() {
    let weather = Weather {
        rebinding: Rebinding::EveryRecord(2),
        ..CALM
    };
    let mut air = Air::new(weather, 7);
    let mut ports = Vec::new();
    for step in 0..6 {
        air.send(Way::Up(40_001), cid_record(), Uptime(step * 1000));
        let (_, arrival) = drain(&mut air).pop().unwrap();
        ports.push(sender(&arrival));
    }
    assert_eq!(air.moves(), 3);
    assert!(ports[0] != ports[1] && ports[1] == ports[2] && ports[2] != ports[3]);
    air.send(Way::Down(ports[0]), vec![1], Uptime(7000));
    air.send(Way::Down(ports[5]), vec![2], Uptime(7000));
    let arrived = drain(&mut air);
    let [
        (
            _,
            Arrival::AtDevice {
                port: 40_001,
                bytes,
            },
        ),
    ] = &arrived[..]
    else {
        panic!("{arrived:?}");
    };
    assert_eq!((bytes, air.down.lost), (&vec![2], 1));
    assert_eq!(air.port_behind(ports[0]), Some(40_001));
}

#[test]
fn a_nat_forgets_after_silence() {
    let mut air = Air::new(Weather::FAIR, 8);
    let mut port_at = |seconds: u64| {
        air.send(Way::Up(40_001), vec![1], Uptime(seconds * 1000));
        let (_, arrival) = drain(&mut air).pop().unwrap();
        sender(&arrival)
    };
    let first = port_at(0);
    assert_eq!(port_at(100), first);
    assert_ne!(port_at(300), first);
}

#[test]
fn nothing_reaches_a_device_in_flight_mode_and_it_comes_back_from_elsewhere() {
    let mut air = Air::new(CALM, 9);
    air.send(Way::Up(40_001), vec![1], Uptime(0));
    let (at, arrival) = drain(&mut air).pop().unwrap();
    let before = sender(&arrival);
    air.send(Way::Down(before), vec![2], at);
    assert!(air.set_attached(false) && !air.set_attached(false));
    air.send(Way::Down(before), vec![3], at);
    air.send(Way::Up(40_001), vec![4], at);
    assert_eq!(drain(&mut air), []);
    assert_eq!(air.up.datagrams, 1, "its radio is off");
    assert!(air.set_attached(true));
    air.send(Way::Up(40_001), vec![5], at.plus(Duration::from_secs(1)));
    let (_, arrival) = drain(&mut air).pop().unwrap();
    assert_ne!(sender(&arrival), before);
}
