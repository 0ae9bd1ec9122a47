//! CoAP without IO (RFC 7252, RFC 7959): messages in, messages out, at a time that the caller names.
//!
//! No sockets, no clocks, no DTLS. A server speaks with many peers, each a session of a number that the caller chooses
//! and [forgets](Server::forget); an address never appears, since it moves under a Connection ID. A client speaks with
//! one server. Both are fed datagrams and polled until they say when to be woken:
//!
//! ```text
//!   Client                                                        Server
//!     request(POST p/rsp, 600 bytes)
//!     Send ── CON POST p/rsp, Block1 0/more/256 ───────────►  feed(session, datagram)
//!          ◄── ACK 2.31 Block1 0/more/256 ──────────────────  Send
//!     Send ── CON POST p/rsp, Block1 1/more/256 ───────────►
//!          ◄── ACK 2.31 ────────────────────────────────────
//!     Send ── CON POST p/rsp, Block1 2/last/256 ───────────►  Request(POST p/rsp, 600 bytes), once
//!                                                             respond(exchange, 2.04)
//!     Response(2.04) ◄── ACK 2.04 Block1 2/last/256 ────────  Send
//!     Wait(when)                                              Wait(when)
//! ```
//!
//! An answer that takes longer than [`server::SEPARATE_AFTER`] travels as a message of its own, after an empty
//! acknowledgement. Everything kept for a peer has a bound: [`server::SESSION_BYTES_MAX`].
//!
//! ```
//! use sectag_coap::{Client, ClientConfig, ClientOutput, ClientRequest, Code, Limits, Method, Output, Response, Server};
//! use std::time::Duration;
//!
//! let now = Duration::ZERO;
//! let mut server = Server::new(Limits::default(), 1);
//! let mut client = Client::new(ClientConfig::default(), 2);
//! client.request(ClientRequest::new(Method::GET, &["p", "cmd"]).query("after="), now);
//! let ClientOutput::Send(datagram) = client.poll(now) else { panic!() };
//! server.feed(17, &datagram, now);
//! let Output::Request(request) = server.poll(now) else { panic!() };
//! assert_eq!((request.path.join("/").as_str(), request.query[0].as_str()), ("p/cmd", "after="));
//! server.respond(request.exchange, Response::new(Code::CONTENT), now);
//! let Output::Send { session: 17, bytes } = server.poll(now) else { panic!() };
//! client.feed(&bytes, now);
//! let ClientOutput::Response(answer) = client.poll(now) else { panic!() };
//! assert_eq!(answer.code, Code::CONTENT);
//! ```
#![forbid(unsafe_code)]

mod block;
mod chance;
pub mod client;
mod code;
mod counters;
mod message;
mod options;
pub mod server;
pub mod timing;

pub use block::BlockSize;
pub use client::{
    Client, ClientConfig, ClientOutput, ClientRequest, ClientResponse, Failure, RequestId,
};
pub use code::{Code, Method};
pub use counters::Counters;
pub use server::{Exchange, Limits, Output, Request, Response, Server};
